"""How far samples lie from each other."""

from tests.planted.mutant import Mutant

FILE, TESTS = 'evaluation/coherence.py', 'tests/evaluation/test_coherence.py::test_'
SHIFT, NORMAL = TESTS + 'a_shift_by_hand', TESTS + 'drift_of_normal_pairs_is_sqrt_of_one_less_the_correlation[0.96]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('coherence: squared distances', FILE, 'np.linalg.norm(row - b, axis=1)', 'np.sum((row - b) ** 2, axis=1)', NORMAL),
    ('coherence: pairs counted as others', FILE, '(distance.sum() - np.trace(distance)) / (n * (n - 1))',
     'distance.mean()', SHIFT),
    ('coherence: others over n^2', FILE, '/ (n * (n - 1))', '/ n**2', SHIFT),
    ('coherence: sum over pairs', FILE, 'np.trace(distance) / len(x) / unpaired', 'np.trace(distance) / unpaired',
     SHIFT),
    ('coherence: others of one set only', FILE, 'unpaired = _mean_off_diagonal(distance)',
     'unpaired = _mean_off_diagonal(_distances(x, x))', SHIFT),
    ('coherence: rows by the first axis alone', FILE, '.reshape(len(v), -1)', '.reshape(len(v), -1)[:, :1]',
     TESTS + 'drift_is_a_ratio_of_scipys_distances_whatever_the_scale'),
    ('diversity: inverted', FILE, '_mean_off_diagonal(_distances(x, x)) / of_data',
     'of_data / _mean_off_diagonal(_distances(x, x))', TESTS + 'diversity_by_hand_and_by_scipy'),
    ('diversity: distance to the data', FILE, '_mean_off_diagonal(_distances(x, x)) / of_data',
     '_distances(x, data).mean() / of_data', TESTS + 'diversity_by_hand_and_by_scipy'),
])  # fmt: skip
