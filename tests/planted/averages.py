"""Bugs in power-function averages, their snapshots, and what is put together from them."""

from tests.planted.mutant import Mutant

# fmt: off
EMA, POST_HOC, STEP = 'optim/ema.py', 'optim/post_hoc.py', 'training/step.py'
TEST_EMA, TEST_FIT = 'tests/optim/test_ema.py::', 'tests/optim/test_post_hoc.py::'
SNAPSHOTS = 'tests/training/test_snapshots.py::'

MUTANTS = tuple(Mutant(*row) for row in [
    ('averages: a step late', EMA, '-1 / (step + 1.0)', '-1 / (step + 2.0)',
     TEST_EMA + 'test_power_has_the_weights_of_its_profile[0.1]'),
    ('averages: gamma for gamma + 1', EMA, 'gamma_of(sigma_rel) + 1', 'gamma_of(sigma_rel)',
     TEST_EMA + 'test_power_has_the_weights_of_its_profile[0.1]'),
    ('averages: a difference of near ones', EMA, '-jnp.expm1(exponent * jnp.log1p(-1 / (step + 1.0)))',
     '1 - (1 - 1 / (step + 1.0)) ** exponent', TEST_EMA + 'test_power_takes_its_share_after_any_number_of_steps'),
    ('averages: another cubic', EMA, '16 - x, 12 - x]', '16 - x, 12 + x]',
     TEST_EMA + 'test_gamma_is_that_of_the_beta_distribution'),
    ('averages: up to the later end', POST_HOC, 'np.minimum(T_a, T_b)', 'np.maximum(T_a, T_b)',
     TEST_FIT + 'test_inner_products_are_integrals'),
    ('averages: profiles as if of one length', POST_HOC, 'total * np.log(', '2 * gamma_a * np.log(',
     TEST_FIT + 'test_inner_products_are_integrals'),
    ('averages: weights of any sum', POST_HOC, 'weights = weights / weights.sum()', 'weights = weights / 1',
     TEST_FIT + 'test_a_constant_is_its_own_average'),
    ('averages: half of what is missing', POST_HOC, 'c - 2 * weights @ b', 'c - weights @ b',
     TEST_FIT + 'test_the_fit_is_the_least_squares_of_sampled_profiles[0.07]'),
    ('averages: of the parameters before', STEP, 'average(track, params, state.step)',
     'average(track, state.params, state.step)',
     'tests/training/test_step.py::test_tracks_follow_the_parameters_as_averages_of_their_own'),
    ('averages: NaN in a snapshot', 'training/loop.py', 'if keeps or saves:', 'if saves:',
     'tests/training/test_loop.py::test_no_snapshot_is_kept_from_a_bad_step_on'),
    ('averages: none at the end', 'training/loop.py', 'every.keep == 0 or k == steps)', 'every.keep == 0)',
     'tests/training/test_loop.py::test_snapshots_are_kept_at_their_steps_and_at_the_end'),
    ('averages: snapshots of a run that is no more', 'training/checkpoint.py', 'if step > after:', 'if False:',
     SNAPSHOTS + 'test_snapshots_of_a_run_that_is_no_more_are_made_again'),
    ('averages: begun in the middle', 'training/run.py', "if before != [*settings['ema_tracks']]:", 'if False:',
     SNAPSHOTS + 'test_averages_may_end_before_their_run_and_are_never_other_ones'),
    ('averages: any length', 'inference/averages.py', 'if fit.residual > MOST:', 'if False:',
     SNAPSHOTS + 'test_what_cannot_be_put_together[evaluate-too-short]'),
    ('averages: each track alike', 'inference/averages.py', 'lambda s, a: s + weight * a', 'lambda s, a: s + a',
     SNAPSHOTS + 'test_a_length_that_was_not_kept_is_what_it_would_have_been[0.07-40]'),
    ('averages: samples over others', 'sample.py', "[f'ema{run.sigma_rel}']", '[]',
     SNAPSHOTS + 'test_samples_are_of_the_length_asked_for_in_a_file_of_its_own'),
    ('averages: results over others', 'evaluate.py', "f'step {run.step}, ema {run.sigma_rel}'", "f'step {run.step}'",
     SNAPSHOTS + 'test_results_are_kept_under_their_length'),
    ('averages: the worst is best', '../experiments/search_ema.py', 'min(results,', 'max(results,',
     SNAPSHOTS + 'test_the_search_measures_what_evaluate_measures'),
])
# fmt: on
