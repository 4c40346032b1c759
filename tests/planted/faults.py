"""Faults of a kind: arguments out of their range, errors that are none, a start that is too noisy, promises."""

from tests.planted.mutant import Mutant

# fmt: off
RANGES = 'tests/test_ranges.py::'
ERRORS = 'tests/evaluation/test_standard_errors.py::'
KERNEL = ERRORS + 'test_kernel_distance'
CONTRACT = 'tests/samplers/test_orders.py::test_a_start_of_long_steps_leaves_the_order_that_the_contract_says'
START_TESTS = 'tests/samplers/test_starts.py::'
STARTS = START_TESTS + 'test_the_spread_is_the_datas_in_both_precisions'
RENOISE = 'tests/samplers/test_consistency.py::'
COPIES = 'tests/evaluation/test_generalization.py::'
PLANTED = COPIES + 'test_planted_copies_are_counted_within_the_error'
SPREAD = COPIES + 'test_the_error_is_the_spread_over_repetitions'

MUTANTS = tuple(Mutant(*row) for row in [
    ('ranges: eta of any size', 'samplers/ancestral.py', "within('[0, 1]', eta=eta)", "within('(-inf, inf)', eta=eta)",
     RANGES + 'test_values_outside_of_the_range_are_refused_in_one_line[ddim-eta]'),
    ('ranges: eta = 1 refused', 'samplers/ancestral.py', "within('[0, 1]', eta=eta)", "within('[0, 1)', eta=eta)",
     RANGES + 'test_values_within_are_taken[ddim-eta]'),
    ('ranges: one element will do', 'ranges.py', '(from_low & to_high).all()', '(from_low & to_high).any()',
     RANGES + 'test_intervals_are_what_they_look_like'),
    ('ranges: open ends taken for closed', 'ranges.py', "value >= low if interval[0] == '['", 'value >= low if True',
     RANGES + 'test_intervals_are_what_they_look_like'),
    ('ranges: a run of no steps', 'samplers/loop.py', 'len(times) < 2', 'len(times) < 1',
     RANGES + 'test_values_outside_of_the_range_are_refused_in_one_line[sample-times]'),
    ('ranges: an argument that nobody checks', 'samplers/edm.py', 'def euler(denoise: Denoiser, schedule: Schedule)',
     'def euler(denoise: Denoiser, schedule: Schedule, gain: float = 1.0)',
     RANGES + 'test_every_argument_has_a_row[euler]'),
    ('ranges: docstring of another range', 'times/grids.py', 'free one. t_max is in (0, 1].',
     'free one. t_max is in (0, 2].', RANGES + 'test_docstrings_say_what_is_checked[quadratic-t_max]'),
    ('ranges: doubling down', 'times/curricula.py', 'if s_1 < s_0:', 'if False:',
     RANGES + 'test_values_outside_of_the_range_are_refused_in_one_line[doubling-s_1]'),
    ('errors: the spread over subsets', 'evaluation/kid.py', 'np.sqrt(draw + samples), np.sqrt(draw + samples + ref',
     'np.sqrt(draw), np.sqrt(draw + ref', ERRORS + 'test_the_kernel_distances_error_where_every_subset_is_the_set'),
    ('errors: the reference forgotten', 'evaluation/kid.py', 'np.sqrt(draw + samples + reference)',
     'np.sqrt(draw + samples)', ERRORS + 'test_the_kernel_distances_error_where_every_subset_is_the_set'),
    ('errors: first order alone', 'evaluation/kid.py', '4 * a_x / n + 2 * b_x / (n * (n - 1)) + 4 * c / (n * m)',
     '4 * a_x / n', KERNEL),
    ('errors: of a subset for that of all', 'evaluation/kid.py', 'samples = 4 * a_x / n',
     'samples = 4 * a_x / subset_size', KERNEL),
    ('errors: no product without a row in common', 'evaluation/kid.py', '(total**2 - 4 * rows + 2 * squares)',
     '(total**2)', ERRORS + 'test_the_parts_of_the_variance_are_those_of_the_kernel'),
    ('errors: noise of the other set kept', 'evaluation/kid.py', '_Parts(a_x - c / m,', '_Parts(a_x,',
     ERRORS + 'test_the_parts_of_the_variance_are_those_of_the_kernel'),
    ('errors: std of the splits', 'evaluation/inception_score.py', 'np.std(scores, ddof=1) / np.sqrt(len(scores))',
     'np.std(scores, ddof=1)', ERRORS + 'test_class_score'),
    ('copies: what honest samples give is counted', 'evaluation/generalization.py', 'float((f - p_0) / (1 - p_0))',
     'float(f)', PLANTED),
    ('copies: share of honest samples lost', 'evaluation/generalization.py', 'float((f - p_0) / (1 - p_0))',
     'float(f - p_0)', COPIES + 'test_the_error_is_the_spread_over_repetitions[0.3]'),
    ('copies: no error of a share of 1', 'evaluation/generalization.py',
     ', (count + 2) / (n + 4)', ', count / n', PLANTED),
    ('copies: calibration without an error', 'evaluation/generalization.py', 'np.sqrt(of_f + of_p_0)', 'np.sqrt(of_f)',
     SPREAD),
    ('copies: threshold not reached', 'evaluation/generalization.py', 'samples <= threshold', 'samples < threshold',
     COPIES + 'test_training_rows_that_are_in_the_held_out_set_are_no_copies'),
    ('copies: half of the held-out rows', 'evaluation/generalization.py', 'quantile * (m + 1)', '0.5 * (m + 1)',
     PLANTED),
    ('renoise: noise of std sigma_s', 'samplers/consistency.py', '(sigma - alpha * held) * (sigma + alpha * held)',
     'sigma**2', RENOISE + 'test_noise_is_algorithm_1s'),
    ('renoise: sigma_min of no schedule', 'samplers/consistency.py', "getattr(schedule, 'sigma_min', 0.0)", '0.0',
     RENOISE + 'test_noise_is_algorithm_1s[None]'),
    ('renoise: noise that f holds not scaled', 'samplers/consistency.py', '(sigma - alpha * held) * (sigma + alpha *',
     '(sigma - held) * (sigma +', RENOISE + 'test_a_function_to_sigma_min_keeps_the_marginals_of_the_path'),
    ('starts: PNDM takes any step', 'samplers/pndm.py', 'is_stiff(schedule, t, s, _STIFF)', '(schedule.alpha(t) < 0)',
     STARTS + '[pndm-short-cosine-table]'),
    ('starts: a bound of float32', 'drift.py', '<= bound * (1 + steepest**2))', '<= 1e30 * bound)',
     STARTS + '[heun-cosine-table]'),
    ('starts: Heun leaves its range', 'samplers/edm.py', '_STIFF = 100.0', '_STIFF = 1e9',
     STARTS + '[heun-cosine-table]'),
    ('starts: Euler-Maruyama grows', 'samplers/sde.py', 'start | grows |', 'start |',
     STARTS + '[euler_maruyama-short-cosine-table]'),
    ('starts: ordinary steps are stiff', 'drift.py', 'steepest = jnp.clip(1.0, L_s, jnp.maximum(L_s, L_t))',
     'steepest = 1.0', START_TESTS + 'test_stiff_steps_are_those_from_the_ends_of_cosine_tables_in_both_precisions'),
    ('rates halved at the points of a table', 'schedules.py', 'jnp.where(u < 0, 0, jnp.where(u > self.T, 1, u - k))',
     'jnp.clip(u - k, 0, 1)',
     'tests/test_schedules.py::test_rates_at_the_points_of_a_table_are_those_of_the_step_from_there'),
    ('rates of the step above', 'schedules.py', 'jnp.ceil(u).astype(jnp.int32) - 1, 0, self.T - 1)',
     'jnp.floor(u).astype(jnp.int32), 0, self.T - 1)',
     'tests/test_schedules.py::test_rates_at_the_points_of_a_table_are_those_of_the_step_from_there'),
    ('promises: a solver that forgets its third point', 'samplers/adams_bashforth.py', 'no_points(x, order - 1)',
     'no_points(x, min(order - 1, 2))', CONTRACT + '[deis_4]'),
    ('promises: corrector of the order of its predictor', 'samplers/unipc.py',
     'past.values.at[0].set(x_0.astype(past.values.dtype))',
     'past.values', CONTRACT + '[unipc_3_bh2]'),
    ('promises: leading to T', 'times/grids.py', '1 + np.arange(_steps(n, T)) * (T // n)',
     '1 + np.arange(0, T, T // n + 0 * _steps(n, T))', 'tests/times/test_grids.py::test_paper_values'),
])  # fmt: skip
