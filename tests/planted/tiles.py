"""Bugs in the set of tiles, and in what the command line makes of overrides and of help that nobody reads."""

from tests.planted.mutant import Mutant

# fmt: off
TILES, TEST = 'data/tiles.py', 'tests/data/test_tiles.py::'
SPLITS = TEST + 'test_the_splits_share_no_tile_and_hold_none_twice'
TOLD = TEST + 'test_a_monster_is_told_from_an_item_far_above_chance'
REACHES = 'tests/test_bad_input.py::test_an_argument_that_the_config_does_not_name_reaches_its_factory'

MUTANTS = tuple(Mutant(*row) for row in [
    ("tiles: the splits are each other's", TILES, '== _SPLITS[split]', '!= _SPLITS[split]', SPLITS),
    ('tiles: both splits hold all', TILES, "held['test'] == _SPLITS[split]", "held['test'] >= 0", SPLITS),
    ('tiles: labels of other rows', TILES, "held['label'][rows]", "held['label'][rows][::-1]", TOLD),
    ('tiles: any split', TILES, 'if split not in _SPLITS:', 'if False:',
     TEST + 'test_what_it_does_not_have_is_refused'),
    ('overrides: nothing new is taken', 'cli.py', 'return bool(spec) and', 'return False and',
     REACHES),
    ('help: tried again at the end', 'errors.py', 'os.dup2(nowhere.fileno(), sys.stdout.fileno())', 'pass',
     'tests/test_bad_input.py::test_help_that_nobody_reads_to_its_end'),
])
