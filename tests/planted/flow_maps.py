"""Bugs in the equations of flow maps and in the objectives that are made of them."""

from tests.planted.mutant import Mutant

# fmt: off
MAPS, CELLS = 'tests/test_flow_maps.py::', 'tests/objectives/test_flow_map.py::'
NEW = 'tests/objectives/test_new_flow_maps.py::'
DERIVATIVES = MAPS + 'test_they_are_the_derivatives_of_the_map_itself'
JUMPS = MAPS + 'test_two_jumps_arrive_where_two_jumps_arrive'
ALONE = CELLS + 'test_no_loss_and_no_gradient_at_the_exact_map_alone'
DIAGONAL = CELLS + 'test_where_s_is_t_every_equation_is_flow_matching'
THROUGH = CELLS + 'test_the_gradient_goes_through_the_derivative_or_not'
TERMINAL = CELLS + 'test_terminal_velocity_is_lagrangian_with_its_own'
AYF = CELLS + 'test_align_your_flow_is_the_same_with_a_normalised_tangent'
BY_HAND = NEW + 'test_alpha_flow_by_hand_and_its_target_is_frozen'
ENDS = NEW + 'test_alpha_flow_is_flow_matching_at_one_and_mean_flow_at_zero'
IMPROVED = NEW + 'test_improved_mean_flow_by_hand'
FREE = NEW + 'test_without_data_the_exact_map_is_the_minimum_and_the_data_are_not_read'
PRIOR = NEW + 'test_without_data_the_model_is_asked_from_the_prior_alone'

EQUATIONS, VELOCITIES, FLOW_MAP = (f'objectives/{name}.py' for name in ('equations', 'velocities', 'flow_map'))
TVM, ALPHA, IMF = (f'objectives/{name}.py' for name in ('terminal_velocity', 'alpha_flow', 'improved_mean_flow'))
POSTERIOR = 'objectives/batch_posterior.py'
POINTS = ('tests/objectives/test_batch_posterior.py'
          '::test_it_is_the_posterior_mean_of_points_of_equal_weight')
ALIGN, WITHOUT = 'objectives/align_your_flow.py', 'objectives/data_free.py'

MUTANTS = tuple(Mutant(*row) for row in [
    ('Lagrangian derivative in t', 'flow_maps.py', 'lambda s: u(x_t, t, s), (s,), (jnp.ones_like(s),)',
     'lambda t: u(x_t, t, s), (t,), (jnp.ones_like(s),)', DERIVATIVES),
    ('arrival velocity sign', 'flow_maps.py', 'jump.u - per_sample(t - s, jump.u)',
     'jump.u + per_sample(t - s, jump.u)', DERIVATIVES),
    ('arrives at minus the jump', 'flow_maps.py', 'x_t - per_sample(t - s, x_t) * u_s',
     'x_t + per_sample(t - s, x_t) * u_s', DERIVATIVES),
    ('two jumps of equal shares', 'flow_maps.py', '(t - m) / (t - s)', '0 * t + 0.5', JUMPS),
    ('two jumps in turned shares', 'flow_maps.py', '(t - m) / (t - s)', '(m - s) / (t - s)', JUMPS),
    ('first jump all the way', 'flow_maps.py', 'first = u(x_t, t, m)', 'first = u(x_t, t, s)', JUMPS),
    ('the velocity of a map to clean data', 'flow_maps.py', 'lambda x, t: u(x, t, t)', 'lambda x, t: u(x, t, 0 * t)',
     MAPS + 'test_the_velocity_that_a_map_holds'),
    ('Lagrangian asks at the start', EQUATIONS, 't, s), v(jump.x_s, s))', 't, s), v(x_t, s))', ALONE),
    ('Lagrangian velocity of the start', EQUATIONS, 't, s), v(jump.x_s, s))',
     't, s), v(jump.x_s, t))', ALONE),
    ('a goal that learns', FLOW_MAP, 'goal = jax.lax.stop_gradient(jnp.where', 'goal = (jnp.where',
     THROUGH),
    ('Lagrangian, u alone, with another sign', EQUATIONS, 'v(jump.x_s, s) + per_sample', 'v(jump.x_s, s) - per_sample',
     ALONE),
    ('Eulerian with another sign', EQUATIONS, 'v_t - gap * du_dt', 'v_t + gap * du_dt', ALONE),
    ('Eulerian gradient by default through all', EQUATIONS, 'through: bool = False', 'through: bool = True',
     CELLS + 'test_mean_flow_is_eulerian_with_the_velocity_of_the_path'),
    ('semigroup from the wrong end', EQUATIONS, 't - at * (t - s)', 's + at * (t - s) * 1.5', CELLS
     + 'test_shortcut_is_the_semigroup_at_half_of_the_way'),
    ('semigroup by its own learner', EQUATIONS, 'flow_maps.two_jumps(u_target,', 'flow_maps.two_jumps(u,', CELLS
     + 'test_shortcut_is_the_semigroup_at_half_of_the_way'),
    ('a teacher is not asked where s = t', VELOCITIES, 'Velocity(field, reads_teacher=True)',
     'Velocity(field, learnt_from_the_path=True, reads_teacher=True)',
     DIAGONAL),
    ('its own velocity where s = t', VELOCITIES, 'flow_maps.velocity_of(u), learnt_from_the_path=True',
     'flow_maps.velocity_of(u), learnt_from_the_path=False', DIAGONAL),
    ('a teacher that is not kept', VELOCITIES, 'Velocity(field, reads_teacher=True)', 'Velocity(field)', ALONE),
    ('flow matching for all pairs', FLOW_MAP, 'per_sample(s < t, x_t)', 'per_sample(s < 0 * t, x_t)', ALONE),
    ('a target of its own that is not used', FLOW_MAP, 'frozen.target_or(params)', 'params',
     CELLS + 'test_shortcut_is_the_semigroup_at_half_of_the_way'),
    ('terminal velocity of the start', TVM, 'velocity_of(u_target)(jump.x_s, s)', 'velocity_of(u_target)(x_t, s)',
     TERMINAL),
    ('terminal velocity of the data', TVM, 'velocity_of(u_target)(jump.x_s, s)', 'velocity_of(u_target)(x_s, s)',
     TERMINAL),
    ('terminal velocity learns', TVM, 'jax.lax.stop_gradient(velocity_of(u_target)(jump.x_s, s))',
     'velocity_of(u_target)(jump.x_s, s)', TERMINAL),
    ('terminal velocity by the current weights', TVM, 'frozen.target_or(params)', 'params',
     TERMINAL),
    ('terminal velocity without flow matching', TVM, 'arrives + flows', 'arrives', TERMINAL),
    ('terminal velocity flows at t', TVM, 'velocity_of(u)(x_s, s) - path_velocity(schedule, batch.x, eps, s)',
     'velocity_of(u)(x_t, t) - path_velocity(schedule, batch.x, eps, t)', TERMINAL),
    ('AYF without its warm-up', ALIGN, 'r * per_sample(t - s, x_t)', 'per_sample(t - s, x_t)', AYF),
    ('AYF with another sign', ALIGN, 'u - v + r *', 'u - v - r *', AYF),
    ('AYF not normalised', ALIGN, 'g / per_sample(norm + c, g)', 'g / c', AYF),
    ('AYF norm without its root', ALIGN, 'jnp.sqrt(sum_square(g))', 'sum_square(g)', AYF),
    ('AYF uphill', ALIGN, 'jax.lax.stop_gradient(u) + g /', 'jax.lax.stop_gradient(u) - g /', AYF),
    ('alpha-Flow step of another length', ALPHA, 'z - a * gap * v', 'z - gap * v', BY_HAND),
    ('alpha-Flow asked at t', ALPHA, 't - a * (t - r), r)', 't, r)', ENDS + ' ' + NEW
     + 'test_alpha_flow_reaches_mean_flow_with_order_one_in_alpha'),
    ('alpha-Flow weights turned', ALPHA, '(a * v + (1 - a) *', '((1 - a) * v + a *', BY_HAND),
    ('alpha-Flow target learns', ALPHA, '(1 - a) * jax.lax.stop_gradient(u_m)', '(1 - a) * u_m', BY_HAND),
    ('alpha-Flow without 1 / alpha', ALPHA, 'jnp.where(a > 0, a, 1) * square', 'square', BY_HAND),
    ('alpha-Flow derivative learns', ALPHA, 'gap * jax.lax.stop_gradient(du_dt)', 'gap * du_dt', ENDS),
    ('alpha-Flow without the derivative', ALPHA, 'u_t - v + gap *', 'u_t - v + 0 *', ENDS),
    ('improved MeanFlow along the sample', IMF, 'jax.lax.stop_gradient(velocity_of(u)(z, t))',
     'path_velocity(schedule, batch.x, eps, t)', IMPROVED),
    ('improved MeanFlow with another sign', IMF, 'u_now + per_sample', 'u_now - per_sample', IMPROVED),
    ('improved MeanFlow learns by its derivative', IMF, 'jax.lax.stop_gradient(du_dt)', 'du_dt', IMPROVED),
    ('improved MeanFlow against its own velocity', IMF, 'V - path_velocity(schedule, batch.x, eps, t)',
     'V - velocity_of(u)(z, t)', IMPROVED),
    ('improved MeanFlow along the jump', IMF, 'velocity_of(u)(z, t)', 'u(z, t, r)', IMPROVED),
    ('without data, yet with them', WITHOUT, 'per_sample(schedule.sigma(t), batch.x) *', 'batch.x +', FREE),
    ('without data, of another prior', WITHOUT, 'per_sample(schedule.sigma(t), batch.x) *', '', PRIOR),
    ('without data, a teacher at the start', WITHOUT, '(jump.x_s, s)', '(z, s)', FREE),
    ('without data, with another sign', WITHOUT, 'v + per_sample', 'v - per_sample', FREE),
    ('without data, a target that learns', WITHOUT, 'jax.lax.stop_gradient(v + per_sample(t - s, z) * jump.du_ds)',
     'v + per_sample(t - s, z) * jump.du_ds', 'tests/test_contracts.py::test_objectives[FreeFlow]'),
    ('without data, from another time', WITHOUT, 'schedule.t_max)', 'schedule.t_max / 2)', PRIOR),
    ('a batch without its scale', POSTERIOR, '2 * alpha * products', '2 * products', POINTS),
    ('a batch of halved distances', POSTERIOR, '(2 * sigma**2)', '(4 * sigma**2)', POINTS),
    ('a batch far from the origin', POSTERIOR, '- alpha * middle', '- middle', POINTS),
    ('a batch without its middle', POSTERIOR, ' + middle)', ')', POINTS),
    ('a batch of all conditions', POSTERIOR, 'alike &= jnp.all', 'alike |= jnp.all',
     'tests/objectives/test_batch_posterior.py::test_only_rows_of_the_same_condition_count'),
    ('a batch without the rounding of the middle', POSTERIOR, 'middle = jnp.mean(x, axis=0, keepdims=True)',
     'middle = 1e3 * jnp.ones_like(x[:1])',
     'tests/objectives/test_batch_posterior.py::test_at_little_noise_it_is_the_sample_itself'),
    ('a batch that steps to its mean', 'objectives/consistency.py', 'ddim_step(schedule, x_t, denoise(x_t, t), t, s)',
     'denoise(x_t, t)', 'tests/objectives/test_batch_posterior.py'
     '::test_a_batch_of_one_is_consistency_training_and_mean_flow_themselves'),
    ('alpha falls from the start', 'times/curricula.py', '(step / steps - begin) / (done - begin)',
     'step / steps / (done - begin)', 'tests/times/test_curricula.py::test_falling_is_one_then_a_sigmoid_then_zero'),
    ('alpha rises', 'times/curricula.py', 'sharpness * (0.5 - way)', 'sharpness * (way - 0.5)',
     'tests/times/test_curricula.py::test_falling_is_one_then_a_sigmoid_then_zero'),
    ('alpha is not clamped', 'times/curricula.py', 'jnp.where(a < clamp, 0.0, a)', 'a',
     'tests/times/test_curricula.py::test_falling_is_one_then_a_sigmoid_then_zero'),
])
# fmt: on
