"""Faults of a kind: arguments out of their range, errors that are none, a start that is too noisy, promises."""

from tests.planted.mutant import Mutant

# fmt: off
RANGES = 'tests/test_ranges.py::'

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
])  # fmt: skip
