"""Bugs in noise levels and their times, grids on them, the search for a solver's grid, and saved grids."""

from tests.planted.mutant import Mutant

# fmt: off
LEVELS, GRIDS = 'tests/times/test_levels.py::', 'tests/times/test_grids.py::'
SEARCH, SAVED = 'tests/search/test_solver.py::', 'tests/test_saved_grids.py::'

MUTANTS = tuple(Mutant(*row) for row in [
    ('levels in float32', 'times/levels.py', 'jnp.asarray(t, jnp.float64)', 'jnp.asarray(t, jnp.float32)',
     LEVELS + 'test_times_of_a_table_are_its_points_and_between_them_have_the_level'),
    ('levels stop at t = 1', 'times/levels.py', '_BEYOND = 2.0**40', '_BEYOND = 1.0',
     LEVELS + 'test_times_are_the_closed_forms'),
    ('levels without the infinite', 'times/levels.py', 'np.where(np.isinf(level), alpha <= 0, ',
     'np.where(np.isinf(level), alpha <= 0.1, ', LEVELS + 'test_a_level_without_signal_is_where_alpha_ends'),
    ('levels clipped at the highest', 'times/levels.py', 'highest * (1 + 1e-9)', 'highest * (1 + 1e9)',
     LEVELS + 'test_levels_that_a_schedule_does_not_have_are_refused'),
    ('levels that are the sigmas', 'times/levels.py', 'return np.divide(sigma, alpha,', 'return np.divide(sigma, 1.0,',
     LEVELS + 'test_times_are_the_closed_forms'),
    ('karras keeps the levels as times', 'times/grids.py', 'sigma if schedule is None else', 'sigma if schedule else',
     GRIDS + 'test_karras_on_any_schedule_is_where_it_has_the_levels_of_ve'),
    ('linspace from T - 1', 'times/grids.py', '_to_zero(1 + np.round(np.linspace', '_to_zero(np.round(np.linspace',
     GRIDS + 'test_paper_values'),
    ('log-SNR grid in the level', 'times/grids.py', 'np.geomspace(most, least', 'np.linspace(most, least',
     GRIDS + 'test_log_snr_is_equally_spaced'),
    ('search by squares', 'search/solver.py', '** 0.25)', '** 0.0)', SEARCH + 'test_far_samples_count_once'),
    ('search returns its start', 'search/solver.py', 'key=lambda pair: pair[0]', 'key=lambda pair: -pair[0]',
     SEARCH + 'test_one_free_time_is_brute_forces'),
    ('an infinite derivative at clean data', 'schedules.py',
     'jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, v)))', 'jnp.sqrt(v)',
     SEARCH + 'test_every_schedule_can_be_searched[LinearVP]'),
    ('search in the wrong direction', 'search/solver.py', 'top - share * width', 'top - share * 0.3 * width',
     SEARCH + 'test_one_free_time_is_brute_forces'),
    ('search with starts that differ', 'search/solver.py', '!= 1 or not np.allclose(first, first[0], rtol=1e-9)',
     '!= 1',
     SEARCH + 'test_a_single_step_is_its_start_and_starts_must_agree'),
    ('saved grid without the nearest name', 'saved_grids.py', 'nearest(grid, known) if known else', "'' if known else",
     SAVED + 'test_what_is_not_there_is_told_with_the_nearest'),
    ('saved grid takes steps', 'runs.py', "if spec['name'] == 'saved':\n        return False",
     "if spec['name'] == 'saved':\n        return True", SAVED + 'test_what_is_not_there_is_told_with_the_nearest'),
])
