"""Bugs in the file that is filled batch by batch."""

from tests.planted.mutant import Mutant

# fmt: off
FILE = 'tests/inference/test_sample_file.py::'
GENERATE = 'tests/inference/test_generate.py::'

MUTANTS = tuple(Mutant(*row) for row in [
    ('the request not compared', 'inference/sample_file.py',
     "if told.get('request') == request:",
     "if told.get('request'):", FILE + 'test_another_number_begins_anew'),
    ('rows written from the start', 'inference/sample_file.py', 'rows[done : done + len(part)] = part',
     'rows[: len(part)] = part', FILE + 'test_an_interrupted_file_is_gone_on_with'),
    ('the count never kept', 'inference/sample_file.py', "'done': done, 'rows'", "'done': 0, 'rows'",
     FILE + 'test_an_interrupted_file_is_gone_on_with'),
    ('float images kept', 'inference/sample_file.py', 'part = store(part)',
     'part = part[:]',
     FILE + 'test_an_interrupted_file_is_gone_on_with'),
    ('leftovers kept', 'inference/sample_file.py', '    rows_file.unlink()\n', '    pass\n',
     FILE + 'test_an_interrupted_file_is_gone_on_with'),
    ('resuming draws the first rows again', 'inference/generate.py', 'for start in range(first, num, size):',
     'for start in range(0, num - first, size):',
     GENERATE + 'test_going_on_from_any_index'),
    ('small batches cut', 'inference/generate.py',
     'drawing.batch_size if drawing.whole else min(drawing.batch_size, num)',
     'min(drawing.batch_size, num)',
     GENERATE + 'test_with_as_many_rows_on_each_device_a_sample_is_the_same_to_the_last_bit'),
])
# fmt: on
