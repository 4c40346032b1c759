"""Bugs in optimisers."""

from tests.planted.mutant import Mutant

# fmt: off
MUON, TEST_MUON = 'optim/muon.py', 'tests/optim/test_muon.py::'
SINGULAR = TEST_MUON + 'test_a_matrix_moves_along_its_gradients_singular_vectors_all_alike[shape1]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('muon: tables are matrices', MUON, "path[-1].key == 'kernel' and leaf.ndim > 1", 'leaf.ndim > 1',
     TEST_MUON + 'test_what_is_no_matrix_is_adams'),
    ('muon: a stack is one matrix', MUON, 'MuonDimensionNumbers(-2, -1)',
     'MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), -1)',
     TEST_MUON + 'test_layers_of_a_stack_and_places_of_a_window_are_matrices_by_themselves'),
    ('muon: the size depends on the width', MUON, 'consistent_rms=rms,', 'consistent_rms=None,', SINGULAR),
    ('muon: nothing decays', MUON, 'weight_decay=weight_decay,', '',
     TEST_MUON + 'test_weights_of_matrices_decay_and_others_do_not'),
    ('muon: Adam for all', MUON, 'if path[-1].key', 'if not path[-1].key', SINGULAR),
])
# fmt: on
