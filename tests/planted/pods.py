"""Bugs in the mesh, in gradient accumulation and in how a run ends."""

from tests.planted.mutant import Mutant

# fmt: off
SHARDING, STEP = 'tests/devices/test_sharding.py::', 'tests/training/test_step.py::'
LOOP = 'tests/training/test_loop.py::'
WATCHDOG = 'tests/training/test_watchdog.py::'

MUTANTS = tuple(Mutant(*row) for row in [
    ('mesh: sampled whole', 'inference/runs.py', 'sharding.of_state(mesh, shapes)',
     'jax.tree.map(lambda a: sharding.replicated(mesh), shapes)',
     'tests/builders/test_sampling.py::test_a_run_that_was_split_is_sampled_split'),
    ('mesh: the first axis that divides', 'devices/sharding.py', 'max(divisible, key=lambda i: a.shape[i])',
     'divisible[0]',
     SHARDING + 'test_the_longest_axis_that_divides_is_split_and_small_arrays_are_not'),
    ('mesh: small arrays split', 'devices/sharding.py', 'n == 1 or a.size < least_size or', 'n == 1 or',
     SHARDING + 'test_the_longest_axis_that_divides_is_split_and_small_arrays_are_not'),
    ('mesh: nothing split', 'devices/sharding.py', 'n == 1 or a.size < least_size', 'n >= 1 or a.size < least_size',
     SHARDING + 'test_the_longest_axis_that_divides_is_split_and_small_arrays_are_not'),
    ('mesh: parts not counted', 'devices/sharding.py', 'n = mesh.size * parts', 'n = mesh.size',
     SHARDING + 'test_every_device_has_rows_for_every_part'),
    ('parts: gradients summed', 'training/step.py', 'a + b / parts', 'a + b',
     STEP + 'test_parts_of_a_batch_add_up_to_its_step'),
    ('parts: one key for all', 'training/step.py', 'jax.random.fold_in(key, i), part, step)', 'key, part, step)',
     STEP + 'test_every_part_has_its_own_rows_and_key'),
    ('parts: the first one again', 'training/step.py', 'i, part = i_and_part', 'i, part = i_and_part[0], '
     'jax.tree.map(lambda a: a[0], cut)', STEP + 'test_every_part_has_its_own_rows_and_key'),
    ('stop: another exit code', 'training/loop.py', "to go on.', stopped)", "to go on.')",
     LOOP + 'test_stopping_saves_and_says_how_to_go_on'),
    ('watchdog: barks at a program that has not begun', 'training/watchdog.py', 'if last and time', 'if time',
     WATCHDOG + 'test_a_program_that_works_or_has_not_begun_is_left_alone'),
    ('watchdog: beats not heard', 'training/watchdog.py', 'last[:] = [time.monotonic()]',
     'last.extend([time.monotonic()])',
     WATCHDOG + 'test_a_program_that_works_or_has_not_begun_is_left_alone'),
    ('lock: not kept', 'workdir/files.py', 'fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)', 'file.flush()',
     'tests/workdir/test_files.py::test_a_folder_is_one_runs_alone'),
])
# fmt: on
