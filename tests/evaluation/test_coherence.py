"""Ratios of mean distances against pairs by hand, SciPy's distances and normal pairs of a known correlation."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from diffusion_jax.evaluation import coherence

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (40, 2, 3, 1)).astype(np.float32)
SQUARE = np.array([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0], [4.0, 3.0]])


def estimates(make, repeats=200):
    values = np.array([make() for _ in range(repeats)])
    return values.mean(), values.std(ddof=1) / np.sqrt(repeats)


def test_equal_pairs_do_not_drift():
    assert coherence.paired_distance(IMAGES, IMAGES.copy()) == 0


def test_a_shift_by_hand():
    # Pairs of a 3 x 4 rectangle's corners, the second of each lifted by 12: 12 against sqrt(9, 16, 25 + 144).
    x, y = np.pad(SQUARE, ((0, 0), (0, 1))), np.pad(SQUARE, ((0, 0), (0, 1)), constant_values=12.0)
    y[:, :2] = SQUARE
    np.testing.assert_allclose(coherence.paired_distance(x, y), 12 / np.mean(np.sqrt([153, 160, 169])), rtol=1e-12)


def test_drift_is_a_ratio_of_scipys_distances_whatever_the_scale():
    x, y = IMAGES[:20], IMAGES[20:]
    distance = cdist(x.reshape(20, 6).astype(float), y.reshape(20, 6).astype(float))
    unpaired = distance[~np.eye(20, dtype=bool)].mean()
    np.testing.assert_allclose(coherence.paired_distance(x, y), np.diag(distance).mean() / unpaired, rtol=1e-12)
    np.testing.assert_allclose(
        coherence.paired_distance(100.0 * x, 100.0 * y), coherence.paired_distance(x, y), rtol=1e-6
    )
    np.testing.assert_allclose(coherence.paired_distance(y, x), coherence.paired_distance(x, y), rtol=1e-12)


@pytest.mark.parametrize('rho', [0.0, 0.6, 0.96])
def test_drift_of_normal_pairs_is_sqrt_of_one_less_the_correlation(rho):
    def draw():
        x, z = RNG.normal(size=(2, 100, 5))
        return coherence.paired_distance(x, rho * x + np.sqrt(1 - rho**2) * z)

    # Unrelated pairs (rho = 0) have 1. The ratio of two means has a bias of order 1 / n, here below 1e-3.
    mean, error = estimates(draw)
    assert abs(mean - np.sqrt(1 - rho)) < 4 * error + 1e-3
    assert error < 0.01


def test_drift_of_a_rotation_in_the_plane():
    # |x - R x| = 2 sin(angle / 2) |x|, and unpaired samples of a normal distribution are sqrt(2) times as far apart as
    # from the origin: sqrt(2) sin(angle / 2) in all.
    x, angle = RNG.normal(size=(2000, 2)), 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(coherence.paired_distance(x, x @ rotation.T), np.sqrt(2) * np.sin(angle / 2), rtol=0.03)


def test_diversity_by_hand_and_by_scipy():
    assert coherence.diversity(SQUARE / 2, SQUARE) == 0.5
    assert coherence.diversity(SQUARE[[1, 1, 1]], SQUARE) == 0
    # Half of the pairs of three samples on two points are apart, by 3; the rectangle's are 3, 4 and 5 on the mean.
    np.testing.assert_allclose(coherence.diversity(SQUARE[[0, 0, 1]], SQUARE), 3 * 2 / 3 / 4, rtol=1e-12)
    ratio = pdist(IMAGES[:15].reshape(15, 6).astype(float)).mean() / pdist(IMAGES.reshape(40, 6).astype(float)).mean()
    np.testing.assert_allclose(coherence.diversity(IMAGES[:15], IMAGES), ratio, rtol=1e-12)


def test_diversity_of_the_datas_own_distribution_is_one_whatever_the_numbers():
    mean, error = estimates(lambda: coherence.diversity(RNG.normal(size=(10, 4)), RNG.normal(size=(60, 4))))
    assert abs(mean - 1) < 4 * error + 1e-3
    assert error < 0.02


def test_what_has_no_ratio_is_refused():
    with pytest.raises(ValueError, match=r'sets of one shape; got \(40, 2, 3, 1\) and \(3, 2, 3, 1\)'):
        coherence.paired_distance(IMAGES, IMAGES[:3])
    with pytest.raises(ValueError, match='need at least 2 of them, got 1'):
        coherence.paired_distance(IMAGES[:1], IMAGES[:1])
    with pytest.raises(ValueError, match='need at least 2 of them, got 1'):
        coherence.diversity(IMAGES[:1], IMAGES)
    with pytest.raises(ValueError, match='samples are all the same'):
        coherence.paired_distance(SQUARE[[1, 1]], SQUARE[[1, 1]])
    with pytest.raises(ValueError, match='rows of the data are all the same'):
        coherence.diversity(SQUARE, SQUARE[[1, 1]])
