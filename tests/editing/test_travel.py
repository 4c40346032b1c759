"""Grids that go up again, and the step that follows them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import editing, samplers, schedules, times
from tests.oracles import GAUSSIAN as DATA
from tests.samplers.test_ancestral import bind


def test_every_stretch_is_run_again():
    grid = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    np.testing.assert_array_equal(editing.travels(grid, 2, 2), [4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0])
    np.testing.assert_array_equal(editing.travels(grid, 3, 2), [4, 3, 2, 1, 2, 3, 4, 3, 2, 1, 0, 1, 0])
    np.testing.assert_array_equal(editing.travels(grid, 2, 1), grid)
    for length, repeats in ((0, 2), (2, 0)):
        with pytest.raises(ValueError, match='must be at least 1'):
            editing.travels(grid, length, repeats)


def test_up_is_q_and_costs_no_evaluation(x64):
    """Exact samples stay so: down by the exact map, up by q(x_t | x_s), from clean data as well."""
    schedule, n, seen = schedules.CosineVP(), 40_000, []

    def flow_map(x, t, s):
        jax.debug.callback(lambda: seen.append(1))
        (m_t, v_t), (m_s, v_s) = (DATA.marginal(schedule.alpha(u)[:, None], schedule.sigma(u)[:, None]) for u in (t, s))
        return m_s + jnp.sqrt(v_s / v_t) * (x - m_t)

    grid = editing.travels(times.uniform(4), 2, 3)
    sampler = editing.time_travel(samplers.jump(flow_map), schedule)
    x_T = jax.random.normal(jax.random.key(0), (n, 1))
    path = np.asarray(jax.jit(lambda x: samplers.trajectory(sampler, jax.random.key(1), x, grid))(x_T))
    jax.effects_barrier()
    assert len(seen) == 4 * 3
    t = jnp.asarray(grid)
    mean, var = DATA.marginal(np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t)))
    assert np.abs((path.mean((1, 2)) - mean) / np.sqrt(var / n)).max() < 4.5
    assert np.abs(path.var((1, 2)) / var - 1).max() < 4.5 * np.sqrt(2 / n)
    # A second pass forgets the first: x at the top of a stretch is alpha_ts x_s and fresh noise.
    a, b = (float(schedule.alpha(jnp.asarray(u))) for u in (0.5, 0.0))
    up = np.corrcoef(path[12, :, 0], path[14, :, 0])[0, 1]
    assert grid[12] == 0.0
    assert grid[14] == 0.5
    want = a / b * np.sqrt(DATA.var / (a**2 * DATA.var + 1 - a**2))
    assert abs(up - want) < 4 / np.sqrt(n)


def test_a_grid_that_only_goes_down_is_untouched():
    schedule, grid = schedules.LinearVP(), times.uniform(3)
    plain = samplers.ancestral(bind(DATA, schedule), schedule)
    x, key = jnp.ones((4, 1)), jax.random.key(0)
    runs = [samplers.sample(s, key, x, grid) for s in (plain, editing.time_travel(plain, schedule))]
    np.testing.assert_allclose(*runs, rtol=1e-6)
