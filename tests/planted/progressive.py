"""Bugs in progressive distillation, EDM's churn, explicit time grids and their search."""

from tests.planted.mutant import Mutant

# fmt: off
PROGRESSIVE, EDM = 'tests/objectives/test_progressive.py::', 'tests/samplers/test_edm.py::'
TARGET, ZERO = (
    PROGRESSIVE + 'test_target_is_two_ddim_steps_solved_for_one',
    PROGRESSIVE + 'test_loss_vanishes_at_the_student_that_makes_both_steps_and_only_there',
)
ROLES = PROGRESSIVE + 'test_the_student_has_dropout_and_the_weight_and_the_teacher_its_own_parameters_and_no_gradient'
CHURN = EDM + 'test_every_step_with_churn_is_the_papers_and_so_are_the_moments'
GRIDS, CURRICULA = 'tests/times/test_grids.py::', 'tests/times/test_curricula.py::'
ANNEAL, SEARCH = 'tests/optim/test_learning_rate.py::', 'tests/search/test_consistency.py::'
LOSS = 'objectives/progressive.py'

MUTANTS = tuple(Mutant(*row) for row in [
    ('progressive: N one less', LOSS, '1, n + 1)', '1, n)', TARGET + '[CosineVP-4]'),
    ('progressive: N one more', LOSS, '1, n + 1)', '1, n + 2)', TARGET + '[CosineVP-4]'),
    ('progressive: i from 0', LOSS, 'batch.x.shape[:1], 1,', 'batch.x.shape[:1], 0,', TARGET + '[CosineVP-4]'),
    ('progressive: teacher of N steps', LOSS, '(0.0, 0.5, 1.0)', '(0.0, 1.0, 2.0)', TARGET + '[LinearVP-4]'),
    ('progressive: t_max forgotten', LOSS, 't_max * ((i - k) / n)', '(i - k) / n', TARGET + '[TrigFlow-4]'),
    ('progressive: second step at t', LOSS, 't, u), u)', 't, u), t)', TARGET + '[RectifiedFlow-4]'),
    ('progressive: target is the last prediction', LOSS, 'w * x_0_t + (1 - w) * x_0_u', 'x_0_u',
     TARGET + '[CosineVP-4]'),
    ('progressive: shares swapped', LOSS, 'w * x_0_t + (1 - w) * x_0_u', '(1 - w) * x_0_t + w * x_0_u',
     TARGET + '[CosineVP-4]'),
    ('progressive: rho without sigma_s', LOSS, 'schedule.sigma(s) / schedule.sigma(v)', '1 / schedule.sigma(v)',
     ZERO + '[CosineVP-v]'),
    ('progressive: divides by alpha_t', LOSS, '(schedule.alpha(s) - rho_t)',
     '(schedule.alpha(s) * schedule.alpha(t) / schedule.alpha(t) - rho_t)', TARGET + '[RectifiedFlow-1]'),
    ('progressive: gradient through the target', LOSS, 'jax.lax.stop_gradient(w * x_0_t + (1 - w) * x_0_u)',
     'w * x_0_t + (1 - w) * x_0_u', ROLES),
    ('progressive: teacher is the student', LOSS, 'teacher(frozen.teacher,', 'teacher(params,', ROLES),
    ('progressive: teacher with dropout', LOSS, 'batch.cond, None)', 'batch.cond, key_dropout)', ROLES),
    ('progressive: weight forgotten', LOSS, 'weight(t) * mean_square', 'mean_square', ROLES),
    ('truncated from above', 'objectives/weights.py', 'jnp.maximum(schedules.snr(schedule, t), 1)',
     'jnp.minimum(schedules.snr(schedule, t), 1)', 'tests/objectives/test_weights.py::test_values'),
    ('halving one step late', 'times/curricula.py', "side='right'", "side='left'",
     CURRICULA + 'test_halving_has_the_papers_stages'),
    ('only one step is stretched', 'times/curricula.py', 'np.where(n <= 2,', 'np.where(n <= 1,',
     CURRICULA + 'test_halving_has_the_papers_stages'),
    ('anneals once', 'optim/learning_rate.py', 'np.diff(ends, prepend=0)', 'ends', ANNEAL
     + 'test_linear_stages_start_again_when_the_number_of_steps_halves'),
    ('inverse square root from the start', 'optim/learning_rate.py', 'jnp.maximum(step / after, 1)', 'step / after + 1',
     ANNEAL + 'test_constant_and_inverse_sqrt'),
    ('churn above sqrt(2)', 'samplers/edm.py', 'min(S_churn / n, math.sqrt(2) - 1)', 'S_churn / n', CHURN),
    ('churn not spread over the steps', 'samplers/edm.py', 'min(S_churn / n, math', 'min(S_churn, math', CHURN),
    ('churn at all levels', 'samplers/edm.py', '(S_min <= t) & (t <= S_max)', 't > 0', CHURN),
    ('churn of too little noise', 'samplers/edm.py', 'gamma * (2 + gamma)', 'gamma * gamma', CHURN),
    ('churn without its time', 'samplers/edm.py', 'Memoryless(x_hat), t + gamma * t, s)', 'Memoryless(x_hat), t, s)',
     CHURN),
    ('S_noise forgotten', 'samplers/edm.py', 'std * S_noise * noise', 'std * noise', CHURN),
    ('root of a rounded difference', 'samplers/edm.py', 't * jnp.sqrt(gamma * (2 + gamma))',
     'jnp.sqrt((t + gamma * t) ** 2 - t**2)', EDM + 'test_no_churn_is_heun_and_the_defaults_are_the_papers'),
    ('multistep ends at sigma_min', 'times/grids.py', 'karras(_steps(n) + 1, sigma_min, sigma_max, rho)[:n]',
     'karras(_steps(n), sigma_min, sigma_max, rho)[:n]', GRIDS + 'test_multistep_levels_end_above_sigma_min'),
    ('at repeats 0', 'times/grids.py', 't if t[-1] == 0 else np.append(t, 0.0)', 'np.append(t, 0.0)',
     GRIDS + 'test_at_is_the_times_given'),
    ('at takes equal times', 'times/grids.py', '(np.diff(t) < 0).all() and (t >= 0)',
     '(np.diff(t) <= 0).all() and (t >= 0)',
     GRIDS + 'test_at_refuses_times_that_are_no_grid'),
    ('at takes negative times', 'times/grids.py', 'and (t >= 0).all() and', 'and',
     GRIDS + 'test_at_refuses_times_that_are_no_grid'),
    ('search keeps the worse side', 'search/consistency.py', 'if values[0] < values[1]', 'if values[0] > values[1]',
     SEARCH + 'test_ternary_search_closes_in_on_the_minimum'),
    ('search returns the last point', 'search/consistency.py', 'if value < least:', 'if True:',
     SEARCH + 'test_ternary_search_closes_in_on_the_minimum'),
    ('search forgets the times before', 'search/consistency.py',
     '[*before, root**rho, 0.0]', '[sigma_max, root**rho, 0.0]',
     SEARCH + 'test_greedy_times_are_brute_forces'),
    ('search above the last time', 'search/consistency.py', 'times[-1] ** (1 / rho)',
     'sigma_max ** (1 / rho)', SEARCH + 'test_greedy_times_are_brute_forces'),
])
