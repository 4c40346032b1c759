"""Bugs in parts of p(t), and in signal and noise of gradients."""

from tests.planted.mutant import Mutant

# fmt: off
STRATA, NOISE, COMMAND = 'times/strata.py', 'evaluation/gradient_noise.py', '../experiments/by_time.py'
TIMES, STATISTICS = 'tests/times/test_strata.py::', 'tests/evaluation/test_gradient_noise.py::'
PARTS = TIMES + 'test_a_part_is_the_distribution_between_two_quantiles[2]'
PAIRS = TIMES + 'test_parts_of_pairs_keep_them_together'
NORMAL = STATISTICS + 'test_both_are_those_of_a_normal_mean[0.5-2.0]'
WHOLE = 'tests/experiments/test_by_time.py::test_the_parts_together_are_the_whole'

MUTANTS = tuple(Mutant(*row) for row in [
    ('by time: the part after it', STRATA, 'return i * m +', 'return (i + 1) * m +', PARTS),
    ('by time: unsorted', STRATA, 'jnp.sort(p_t(', '(p_t(', PARTS),
    ('by time: in the order of time', STRATA, 'jax.random.permutation(key, m)', 'jnp.arange(m)',
     TIMES + 'test_the_order_within_a_batch_says_nothing'),
    ('by time: s of another pair', STRATA, 's[rank].reshape(shape)', 's[order].reshape(shape)', PAIRS),
    ('by time: cut by s', STRATA, 'jnp.argsort(t)[order]', 'jnp.argsort(-s)[order]', PAIRS),
    ('by time: the curriculum at its beginning', STRATA, '* math.prod(shape),), step)',
     '* math.prod(shape),), jnp.zeros_like(step))', TIMES + 'test_the_step_of_a_curriculum_is_told'),
    ('by time: noise of the mean', NOISE, 'noise = float(square) / (R - 1)', 'noise = float(square) / (R - 1) / R',
     NORMAL),
    ('by time: a biased variance', NOISE, 'noise = float(square) / (R - 1)', 'noise = float(square) / R',
     STATISTICS + 'test_both_are_unbiased'),
    ('by time: the luck counts as signal', NOISE, '- noise / R,', ',', STATISTICS + 'test_both_are_unbiased'),
    ('by time: distances to the old mean alone', NOISE, 'jax.tree.map(jnp.subtract, g, mean))', 'from_before)',
     STATISTICS + 'test_both_are_unbiased'),
    ('by time: standard deviations as errors', NOISE, 'v.std(ddof=1) / np.sqrt(R)', 'v.std(ddof=1)',
     STATISTICS + 'test_metrics_have_their_standard_errors'),
    ('by time: of the averaged weights', COMMAND, 'at = (state.params, seen,', 'at = (state.ema, seen,', WHOLE),
    ('by time: always the first part', COMMAND, 'measure((*at, jnp.asarray(i), *draw)',
     'measure((*at, jnp.asarray(0), *draw)', WHOLE),
])
