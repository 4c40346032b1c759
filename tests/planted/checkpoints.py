"""Bugs in what is kept, in what is read back and compared, in partial restores and in runs in a bucket."""

from tests.planted.mutant import Mutant

# fmt: off
CHECKPOINT, DIGEST = 'tests/training/test_checkpoint.py::', 'tests/workdir/test_digest.py::'
LOOP = 'tests/training/test_loop.py::'
PARTIAL, PATHS = 'tests/training/test_partial.py::', 'tests/workdir/test_paths.py::'
KEPT = CHECKPOINT + 'test_the_best_and_every_few_steps_are_kept_over_restarts'

MUTANTS = tuple(Mutant(*row) for row in [
    ('checkpoint: nothing compared', 'workdir/reading.py', 'if saved.get(name, {}).get(path, d) != d', 'if False',
     CHECKPOINT + 'test_a_flipped_bit_anywhere_is_found_or_does_no_harm'),
    ('checkpoint: the worst is kept', 'workdir/reading.py', 'return -value if math', 'return value if math', KEPT),
    ('checkpoint: NaN is best', 'workdir/reading.py', 'isfinite(value) else -math.inf', 'isfinite(value) else 1e9',
     KEPT),
    ('checkpoint: the best of this start alone', 'training/checkpoint.py', 'for step in steps[:-1]:',
     'for step in steps[-2:-1]:', KEPT),
    ('checkpoint: none kept for ever', 'training/checkpoint.py',
     '[policies.EveryNSteps(keep.every)] if keep.every else []',
     '[]', KEPT),
    ('checkpoint: best is newest', 'workdir/reading.py', "if not steps or which == 'newest':",
     'if not which.isdigit():',
     CHECKPOINT + "test_which_is_read[('best',)-20]"),
    ('checkpoint: a reader moves things', 'workdir/reading.py', '        unreadable.append(step)\n',
     '        unreadable.append(step)\n        (reader.directory / str(step)).rename(reader.directory / "aside")\n',
     CHECKPOINT + 'test_the_ema_alone'),
    ('checkpoint: means since the start', 'training/loop.py', '            since_save.clear()\n', '',
     LOOP + 'test_saves_draws_and_logs_at_their_steps'),
    ('digest: blind to the place', 'workdir/digest.py', 'words + index * jnp.uint32(0x9E3779B9)', 'words',
     DIGEST + 'test_every_change_of_one_bit_is_seen_and_so_are_swaps_and_pairs_of_signs'),
    ('digest: blind to pairs of signs', 'workdir/digest.py', '_mix(words + index * jnp.uint32(0x9E3779B9))',
     'words * (2 * index + 1)', DIGEST + 'test_every_change_of_one_bit_is_seen_and_so_are_swaps_and_pairs_of_signs'),
    ('partial: any shape', 'workdir/reading.py', 'and shapes.get(name(path)) == a.shape', 'and name(path) in shapes',
     PARTIAL + 'test_another_shape_stays'),
    ('partial: beginnings of names', 'workdir/reading.py', 're.fullmatch(names', 're.match(names',
     PARTIAL + 'test_what_fits_by_name_and_shape_is_taken[whole-names]'),
    ('partial: the newest for the step named', 'training/run.py', 'partial, which, best_by)',
     "partial, 'newest', best_by)",
     PARTIAL + 'test_a_run_starts_with_what_was_taken_and_says_what_was_not'),
    ('partial: an older config is a change', 'training/run.py', 'saved = builders.check(saved)',
     'saved = dict(saved)', PARTIAL + 'test_a_run_of_an_older_version_goes_on'),
    ('bucket: metrics start over', 'workdir/paths.py', 'if (folder / name).exists():', 'if False:',
     PATHS + 'test_files_of_a_run_in_a_bucket'),
    ('bucket: metrics stay here', 'workdir/paths.py', '            for file in Path(near).iterdir():',
     '            for file in []:', PATHS + 'test_files_of_a_run_in_a_bucket'),
    ('bucket: samples drawn again', 'workdir/paths.py', 'place = Path.home()', 'place = Path(tempfile.mkdtemp())',
     PATHS + 'test_samples_drawn_before_an_interruption_are_not_drawn_again'),
    ('folder: the lock tells nothing', 'workdir/files.py', '    except OSError as error:  # a folder without',
     '    except ZeroDivisionError as error:  # a folder without',
     'tests/workdir/test_files.py::test_a_folder_that_cannot_be_written_to[lock]'),
])
# fmt: on
