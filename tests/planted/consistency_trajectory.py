"""Bugs in consistency trajectory models."""

from tests.planted.mutant import Mutant

# fmt: off
FILE, TEST = 'objectives/consistency_trajectory.py', 'tests/objectives/test_consistency_trajectory.py::'
LINEAR = TEST + 'test_the_whole_loss_of_a_linear_map'
EXACT = TEST + 'test_the_semigroup_holds_at_the_exact_map_and_only_there'
FROZEN = TEST + 'test_frozen_parameters_get_no_gradient_and_none_is_the_current_ones[True]'
ALONE = TEST + 'test_without_a_teacher_the_ode_is_its_own'
KEYS = TEST + 'test_every_draw_has_its_own_key'

MUTANTS = tuple(Mutant(*row) for row in [
    ('CTM: target jumps from t', FILE, 'X_sg(x_u, u, s)', 'X_sg(x_u, t, s)', EXACT),
    ('CTM: target from x_t', FILE, 'X_sg(x_u, u, s)', 'X_sg(x_t, u, s)', EXACT),
    ('CTM: compared at s', FILE, 'distance(X_sg(x_s, s, zero), jax.lax.stop_gradient(X_sg(x_s_target, s, zero)))',
     'distance(x_s, x_s_target)', LINEAR),
    ('CTM: first jump by the target', FILE, 'x_s = X(params,', 'x_s = X(target,', LINEAR),
    ('CTM: second jump is trained', FILE, 'X_sg(x_s, s, zero),', 'X(params, batch.cond, key_dropout)(x_s, s, zero),',
     LINEAR),
    ('CTM: target learns', FILE, 'target = jax.lax.stop_gradient(frozen.target_or(params))',
     'target = frozen.target_or(params)', FROZEN),
    ('CTM: the goal learns', FILE, 'jax.lax.stop_gradient(X_sg(x_s_target, s, zero))', 'X_sg(x_s_target, s, zero)',
     FROZEN),
    ('CTM: teacher is the student', FILE, 'ode_step.step(frozen, batch)',
     'ode_step.step(frozen._replace(teacher=params), batch)', FROZEN),
    ('CTM: u below s', FILE, 'jnp.minimum(t - s, n * h)', 'n * h',
     TEST + 'test_the_solver_does_not_pass_s'),
    ('CTM: one step reaches as far as n', FILE, 'jnp.minimum(t - s, n * h)', 'jnp.minimum(t - s, h)', LINEAR),
    ('CTM: solver steps of another length', FILE, '(j / n) for j in (i, i + 1)', '(j / n) for j in (0, i + 1)', LINEAR),
    ('CTM: u shares a key', FILE, 'uniform(key_u,', 'uniform(key_eps,', KEYS),
    ('CTM: denoises at s', FILE, 'key_dropout)(x_t, t, t)', 'key_dropout)(x_t, t, s)', TEST
     + 'test_the_second_term_is_of_the_instantaneous_velocity'),
    ('CTM: lambda forgotten', FILE, 'ctm + lambda_dsm * dsm', 'ctm + dsm', LINEAR),
    ('CTM: alone by the student', FILE, 'denoise(target, batch.cond, None)', 'denoise(params, batch.cond, None)',
     ALONE),
])
# fmt: on
