"""SDEdit against the exact probability-flow ODE from the noised image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import editing, samplers, schedules, times
from tests.oracles import GAUSSIAN as DATA
from tests.samplers.test_ancestral import bind

KEY = jax.random.key(0)
FLOW = schedules.RectifiedFlow()
X = np.array([[2.0], [-1.0], [0.4]])


def edited(x, t0, n=60):
    grid = editing.part_below(times.uniform(n), t0)
    return editing.sdedit(samplers.heun(bind(DATA, FLOW), FLOW), FLOW, KEY, jnp.asarray(x), grid)


def test_runs_down_from_the_noised_image(x64):
    eps = np.asarray(samplers.noise(samplers.fold_in(KEY, 0), jnp.asarray(X)))
    for t0 in (0.33, 0.5):  # between two times of the grid, and on one
        want = DATA.pf_ode((1 - t0) * X + t0 * eps, (1 - t0, t0), (1.0, 0.0))
        np.testing.assert_allclose(edited(X, t0), want, atol=1e-3)


def test_the_two_ends(x64):
    """Near t0 = 0 the image itself; where alpha = 0 a fresh sample, whatever the image."""
    np.testing.assert_allclose(edited(X, 1e-6), X, atol=1e-5)
    fresh = edited(X, 1.0)
    np.testing.assert_array_equal(edited(-3 * X, 1.0), fresh)
    assert not np.allclose(fresh, X, atol=0.1)


def test_the_part_of_a_grid():
    grid = times.uniform(4)
    np.testing.assert_array_equal(editing.part_below(grid, 0.6), [0.6, 0.5, 0.25, 0.0])
    np.testing.assert_array_equal(editing.part_below(grid, 0.5), [0.5, 0.25, 0.0])
    np.testing.assert_array_equal(editing.part_below(grid, 1.0), grid)
    np.testing.assert_array_equal(editing.part_below(np.array([80.0, 0.0]), 0.5), [0.5, 0.0])
    for t0 in (0.0, 1.1, float('nan')):
        with pytest.raises(ValueError, match='needs 0 < t0 <= 1, the first time of the grid; got'):
            editing.part_below(grid, t0)
