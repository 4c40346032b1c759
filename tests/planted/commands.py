"""Bugs in what the commands show beside samples, and in how they draw them."""

from tests.planted.mutant import Mutant

# fmt: off
FILE = 'tests/test_sample.py::'
ENDS = FILE + 'test_a_trajectory_ends_in_the_samples_to_the_last_bit[ancestral]'
DDIM = FILE + 'test_ddims_steps_follow_from_the_predictions_beside_them'
PARALLEL = FILE + 'test_in_parallel_without_tolerance_samples_are_the_sequential_ones'
TRAINED = 'tests/likelihood/test_trained.py::'
BELOW = TRAINED + 'test_the_trained_bound_is_below_the_uniform_one_and_near_the_exact_bits'
PROGRESS = 'tests/test_progress.py::'

MUTANTS = tuple(Mutant(*row) for row in [
    ('trajectory: from other keys', 'inference/runs.py', '*of_rows(drawing.mesh, key, 0, size)',
     '*of_rows(drawing.mesh, jax.random.fold_in(key, 1), 0, size)', ENDS),
    ('trajectory: predictions at the next time', 'builders/sampling.py', 't = jnp.asarray(grid[:-1], x.dtype)',
     't = jnp.asarray(grid[1:], x.dtype)', DDIM),
    ('trajectory: predictions of the next state', 'builders/sampling.py', '(x[:-1], t)', '(x[1:], t)', DDIM),
    ('parallel: the count forgotten', 'inference/parallel.py', 'evaluations.append(count)', 'evaluations.append(1)',
     PARALLEL),
    ('parallel: with more tolerance', 'builders/parallel.py', 'times, window, tolerance)',
     'times, window, 0.5 + tolerance)', PARALLEL),
    ('parallel: a batch not in the name', 'sample.py', "[runs.name_of(parallel), f'batch{size}']",
     '[runs.name_of(parallel)]', FILE + 'test_a_parallel_run_is_named_by_all_that_it_depends_on'),
    ('trajectory: the last samples of a batch', 'builders/sampling.py', 'keep=lambda x: x[:n]', 'keep=lambda x: x[-n:]',
     ENDS),
    ('dequantiser: the score not scaled', 'likelihood/fit.py', '(alpha / r * x_0 - z)', '(alpha * x_0 - z)',
     TRAINED + 'test_a_score_is_the_derivative_of_the_log_density'),
    ('dequantiser: away from the density', 'likelihood/fit.py', 'score(y)) * y', 'score(y)) * -y', BELOW),
    ('dequantiser: starts at random', 'nets/dequantiser.py', ', kernel_init=nn.initializers.zeros', '',
     TRAINED + 'test_a_fresh_network_is_the_uniform_dequantiser[shape2]'),
    ('dequantiser: trained and not used', 'builders/dequantiser.py', 'net.apply(phi, x), levels)',
     'net.apply(jax.tree.map(jnp.zeros_like, phi), x), levels)', BELOW),
    ('progress: shown at once', 'progress.py', 'threading.Timer(_PATIENCE,', 'threading.Timer(0.0,',
     PROGRESS + 'test_what_is_soon_done_is_not_told'),
    ('progress: told after the end', 'progress.py', '        show.cancel()\n', '',
     PROGRESS + 'test_what_is_soon_done_is_not_told'),
    ('progress: the second reading not counted', 'evaluation/measure.py', 'progress, len(x) + n)', 'progress, len(x))',
     PROGRESS + 'test_a_reference_counts_all_rows_that_it_reads'),
])
# fmt: on
