"""The search for times against known minima, and against brute force on Gaussian data."""

import numpy as np
import pytest

from diffusion_jax import search
from tests.oracles import GAUSSIAN as DATA
from tests.oracles import Affine, moments


@pytest.mark.parametrize('minimum', [-0.97, -0.2, 0.5, 1.96])
@pytest.mark.parametrize('evaluations', [2, 9, 60])
def test_ternary_search_closes_in_on_the_minimum(minimum, evaluations):
    """Asymmetric on purpose: steep on the left, flat on the right. Every bound is the docstring's."""
    tried = {}

    def loss(x):
        tried[x] = np.expm1(-3 * (x - minimum)) + 3 * (x - minimum)
        return tried[x]

    x = search.ternary_search(loss, -1.0, 2.0, evaluations)
    assert abs(x - minimum) <= 3 * (2 / 3) ** (evaluations // 2) + 1e-7  # the loss is flat below
    assert tried[x] == min(tried.values())
    assert len(tried) == evaluations // 2 * 2
    assert all(-1 < v < 2 for v in tried)


def test_what_cannot_be_searched_is_refused():
    for lo, hi, evaluations in ((1.0, 1.0, 10), (2.0, 1.0, 10), (0.0, 1.0, 1)):
        with pytest.raises(ValueError, match='needs lo < hi'):
            search.ternary_search(abs, lo, hi, evaluations)
    with pytest.raises(ValueError, match='finite'):
        search.ternary_search(lambda x: np.nan, 0.0, 1.0, 4)
    with pytest.raises(ValueError, match='at least 1 step'):
        search.greedy_times(np.sum, 0, 10)


def frechet(grid):
    """Distance between data and samples of a consistency function that is wrong where t is large, in closed form."""
    assert (np.diff(grid) < 0).all()
    steps = []
    for t in grid[:-1]:
        gain = (DATA.var / (DATA.var + t**2)) ** 0.45  # 1/2 would be exact
        steps += [Affine(1, 0, t if steps else 0), Affine(gain, (1 - gain) * DATA.mean, 0)]
    mean, var = moments(steps, 0.0, grid[0] ** 2)[:, -1]
    return (mean - DATA.mean) ** 2 + (np.sqrt(var) - np.sqrt(DATA.var)) ** 2


def test_greedy_times_are_brute_forces():
    grid = search.greedy_times(frechet, 3, 60)
    assert grid.shape == (4,)
    assert (grid[0], grid[-1]) == (80, 0)
    for i in (1, 2):
        candidates = np.geomspace(0.002, grid[i - 1], 20_001)[1:-1]
        losses = [frechet(np.array([*grid[:i], t, 0])) for t in candidates]
        assert 0 < np.argmin(losses) < len(losses) - 1
        np.testing.assert_allclose(grid[i], candidates[np.argmin(losses)], rtol=2e-3)
        assert frechet(np.append(grid[: i + 1], 0)) <= min(losses) * (1 + 1e-6)
    np.testing.assert_array_equal(search.greedy_times(frechet, 1, 2), [80, 0])
    np.testing.assert_array_equal(search.greedy_times(frechet, 2, 60), [*grid[:2], 0])
