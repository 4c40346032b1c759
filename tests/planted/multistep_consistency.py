"""Bugs in multistep consistency models."""

from tests.planted.mutant import Mutant

# fmt: off
FILE, TEST = 'objectives/multistep_consistency.py', 'tests/objectives/test_multistep_consistency.py::'
EXACT = TEST + 'test_distillation_vanishes_at_the_exact_function_and_only_there[flow-3]'
ORDER = TEST + 'test_training_at_the_exact_function_vanishes_with_the_gap_at_order_2[0.6]'
ONE = TEST + 'test_one_segment_is_the_consistency_loss[True-iCT]'
DENOISING = TEST + 'test_a_pair_that_is_a_segment_is_denoising[float32]'
FROZEN = TEST + 'test_frozen_parameters_get_no_gradient_and_none_is_the_current_ones[True]'
SEGMENTS = TEST + 'test_segments_hold_the_finer_grid_whatever_rounding_does[3-1.0]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('multistep consistency: towards x_0 in every segment', FILE, 'share_of_the_first_step(schedule, t, u, r)',
     'share_of_the_first_step(schedule, t, u, jnp.zeros_like(r))', ORDER),
    ('multistep consistency: shares swapped', FILE, 'share * x_0_t + (1 - share) * f_s',
     '(1 - share) * x_0_t + share * f_s', EXACT),
    ('multistep consistency: the data beside a teacher', FILE, 'x_0_t = x_0_of_ddim_step(schedule, x_t, x_s, t, s)',
     'x_0_t = batch.x', EXACT),
    ('multistep consistency: s beyond the segment', FILE, 's = jnp.maximum(s, r)', 's = s * 1', EXACT),
    ('multistep consistency: asks at the start', FILE, 'jnp.where(within, s, t)', 's', DENOISING),
    ('multistep consistency: the start has no share', FILE, 'share_of_the_first_step(schedule, t, u, r), 1)',
     'share_of_the_first_step(schedule, t, u, r), 0)', DENOISING),
    ('multistep consistency: target learns', FILE, 'jax.lax.stop_gradient(share * x_0_t + (1 - share) * f_s)',
     'share * x_0_t + (1 - share) * f_s', ORDER),
    ('multistep consistency: target asked as the student', FILE, 'f_s = model(target,', 'f_s = model(params,', ONE),
    ('multistep consistency: two dropout keys', FILE, 'model(target, batch.cond, key_dropout)',
     'model(target, batch.cond, key_eps)',
     TEST + 'test_the_online_network_sees_the_noisier_point_and_both_one_noise_and_one_dropout_key'),
    ('multistep consistency: weight at s', FILE, 'weight(t) *', 'weight(u) *', ONE),
    ('multistep consistency: teacher is the student', FILE, 'ode_step.step(frozen, batch)',
     'ode_step.step(frozen._replace(teacher=params), batch)', FROZEN),
    ('segments: the top belongs to the next', FILE, 'jnp.searchsorted(ends, below)',
     "jnp.searchsorted(ends, t, side='right')", SEGMENTS),
    ('segments: the grid\'s end starts one', FILE, '[:0:-1]', '[::-1]', SEGMENTS),
    ('DDIM\'s inverse without its ratio', 'drift.py', '(x_s - per_sample(ratio, x_t) * x_t)', '(x_s - x_t)', EXACT),
])
# fmt: on
