"""The sliced Wasserstein distance against SciPy's along each direction, and against closed forms."""

import jax
import numpy as np
import pytest
from scipy import special, stats

from diffusion_jax.evaluation.sliced_wasserstein import sliced_wasserstein

RNG, KEY = np.random.default_rng(0), jax.random.key(3)


def directions(d, n):
    u = np.asarray(jax.random.normal(KEY, (d, n)), np.float64)
    return u / np.linalg.norm(u, axis=0)


def test_is_the_mean_of_scipys_distance_along_its_directions():
    x, y = RNG.normal(size=(50, 3)), RNG.normal(size=(50, 3)) * [1, 2, 0.5] + [0, 0, 1]
    each = [stats.wasserstein_distance(x @ u, y @ u) for u in directions(3, 20).T]
    np.testing.assert_allclose(sliced_wasserstein(x, y, KEY, 20), np.mean(each), rtol=1e-12)
    np.testing.assert_allclose(sliced_wasserstein(y, x, KEY, 20), np.mean(each), rtol=1e-12)


@pytest.mark.parametrize('d', [1, 2, 5])
def test_a_shift_costs_its_length_times_the_mean_of_a_directions_first_coordinate(d):
    """E|u_1| = Gamma(d / 2) / (sqrt(pi) Gamma((d + 1) / 2)) on the sphere: 1 on a line, 2 / pi in the plane."""
    x, shift = RNG.normal(size=(40, d)), RNG.normal(size=d)
    mean = special.gamma(d / 2) / (np.sqrt(np.pi) * special.gamma((d + 1) / 2))
    value = sliced_wasserstein(x, RNG.permutation(x + shift), KEY, 20_000)
    np.testing.assert_allclose(value, np.linalg.norm(shift) * mean, rtol=0.02)
    assert sliced_wasserstein(x, RNG.permutation(x), KEY) < 1e-12


def test_images_are_flattened_and_sets_must_be_of_equal_size():
    x, y = RNG.normal(size=(30, 2, 3, 1)), RNG.normal(size=(30, 2, 3, 1))
    assert sliced_wasserstein(x, y, KEY) == sliced_wasserstein(x.reshape(30, 6), y.reshape(30, 6), KEY)
    with pytest.raises(ValueError, match='equal size; got 30 and 29'):
        sliced_wasserstein(x, y[1:], KEY)
