"""The search for a solver's grid on Gaussian data, whose exact map and whose steps are closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, search, times
from diffusion_jax.search.least_squares import iterations
from tests.oracles import GAUSSIAN as DATA
from tests.oracles import Gaussian
from tests.samplers.test_ancestral import PATHS, bind, scales

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(16, 1))
VE, FLOW = schedules.VE(), schedules.RectifiedFlow()


def euler(x, grid):
    """DDIM on VE: x + (s - t) (x - D(x, t)) / t, with every step and its derivative in the grid on the tape."""
    for i in range(len(grid) - 1):
        t, s = grid[i], grid[i + 1]
        x = x + (s - t) * (x - DATA.denoise(x, 1.0, t)) / t
    return x


def mean_error(grid, target):
    return np.mean(np.abs(euler(80 * X, grid) - target))


TARGET = DATA.pf_ode(80 * X, (1.0, 80.0), (1.0, 0.0))


def fit(n, **kwargs):
    starts = [times.karras(n), times.karras(n, sigma_min=0.02, rho=3.0)]
    return search.fit_grid(lambda grid: euler(80 * X, grid), jnp.asarray(TARGET), VE, starts, **kwargs), starts


def test_one_free_time_is_brute_forces(x64):
    told = []
    found, starts = fit(2, tolerance=1e-8, progress=told.append)
    assert told[:-1] == [*range(1, len(told))]
    assert told[-1] == iterations(2, 40) >= len(told) - 1
    candidates = np.geomspace(1e-2, 79, 4001)
    errors = [mean_error([80.0, t, 0.0], TARGET) for t in candidates]
    assert 0 < np.argmin(errors) < 4000
    np.testing.assert_allclose(found.times, [80, candidates[np.argmin(errors)], 0], rtol=3e-3)
    np.testing.assert_allclose(found.error, min(errors), rtol=1e-4)
    np.testing.assert_allclose(found.errors_before, [mean_error(grid, TARGET) for grid in starts], rtol=1e-9)


def test_no_time_can_be_moved_to_a_smaller_error(x64):
    found, _ = fit(5, tolerance=1e-8)
    assert found.times.shape == (6,)
    np.testing.assert_allclose(found.times[0], 80, rtol=1e-12)
    assert found.error < 0.5 * min(found.errors_before)
    for i in range(1, 5):
        for factor in (0.9, 1.1):
            moved = found.times.copy()
            moved[i] *= factor
            assert mean_error(moved, TARGET) > found.error


@pytest.mark.parametrize('name', [n if n == 'LinearVP' else pytest.param(n, marks=pytest.mark.slow) for n in PATHS])
def test_every_schedule_can_be_searched(name, x64):
    """The last time, 0, has no derivative that could spoil those of the others: sigma is like sqrt(t) there on VP."""
    schedule, t_max = PATHS[name]
    grid = t_max * np.array([1.0, 0.9, 0.8, 0.0])
    x = jnp.asarray(X) * schedule.sigma(jnp.asarray(t_max))
    target = DATA.pf_ode(np.asarray(x), *scales(schedule, [t_max, 0.0]))
    sampler = samplers.ddim(bind(DATA, schedule), schedule)
    found = search.fit_grid(lambda grid: samplers.sample(sampler, KEY, x, grid), jnp.asarray(target), schedule, [grid])
    assert found.error < 0.9 * found.errors_before[0]


def test_far_samples_count_once(x64):
    """One sample has another target, out of reach: least squares would move the grid for it, the mean does not."""
    x = np.random.default_rng(1).normal(size=(16, 1))
    shift = 2.0 * (np.abs(x) == np.abs(x).max())
    target = DATA.pf_ode(80 * x, (1.0, 80.0), (1.0, 0.0))
    found = search.fit_grid(
        lambda grid: euler(80 * x, grid), jnp.asarray(target + shift), VE, [times.karras(2)], tolerance=1e-8
    )
    distances = [np.abs(euler(80 * x, [80.0, t, 0.0]) - target - shift) for t in np.geomspace(1e-2, 79, 4001)]
    np.testing.assert_allclose(found.error, np.mean(distances, axis=(1, 2)).min(), rtol=1e-3)
    by_squares = distances[np.argmin(np.mean(np.square(distances), axis=(1, 2)))]
    assert found.error < 0.9 * by_squares.mean()


def test_starts_without_signal_and_jitted_samplers_in_float32():
    """The whole range of rectified flow, where log-SNR begins at -inf; and no error is made worse."""
    x = jnp.asarray(X, jnp.float32)
    sampler = samplers.ddim(bind(DATA, FLOW), FLOW)
    target = jnp.asarray(DATA.pf_ode(X, (0.0, 1.0), (1.0, 0.0)), jnp.float32)

    def run(grid):
        return samplers.sample(sampler, jax.random.key(0), x, grid)

    found = search.fit_grid(run, target, FLOW, [times.uniform(4)])
    assert (found.times[0], found.times[-1]) == (1.0, 0.0)
    assert (np.diff(found.times) < 0).all()
    assert found.error < 0.9 * found.errors_before[0]
    got = np.abs(np.asarray(run(jnp.asarray(found.times, jnp.float32))) - target).mean()
    np.testing.assert_allclose(found.error, got, rtol=1e-4)


def test_with_model_times_a_centred_gaussian_is_solved_exactly(x64):
    """Its Euler steps can be exact on any grid (see test_retime), where the best grid alone leaves an error."""
    data = Gaussian(np.float64(0.0), np.float64(0.25))
    target = jnp.asarray(data.pf_ode(80 * X, (1.0, 80.0), (1.0, 0.0)))

    def run(grid, told):
        x = 80 * X
        for i in range(len(told)):
            x = x + (grid[i + 1] - grid[i]) * (x - data.denoise(x, 1.0, told[i])) / grid[i]
        return x

    starts = [times.karras(3)]
    alone = search.fit_grid(lambda grid: run(grid, grid[:-1]), target, VE, starts)
    found = search.fit_retimed_grid(run, target, VE, starts, max_steps=200, tolerance=1e-10)
    assert found.times.shape == (4,)
    assert found.model_times is not None
    np.testing.assert_allclose(found.errors_before, alone.errors_before, rtol=1e-12)
    assert found.error < 1e-2 * alone.error, (found.error, alone.error)
    got = np.abs(run(found.times, found.model_times) - target).mean()
    np.testing.assert_allclose(found.error, got, rtol=1e-6, atol=1e-12)


def test_a_single_step_is_its_start_and_starts_must_agree(x64):
    found, starts = fit(1)
    np.testing.assert_allclose(found.times, starts[0], rtol=1e-12)
    for bad in ([], [times.karras(2), times.karras(3)], [times.karras(2), times.karras(2, sigma_max=70.0)]):
        with pytest.raises(ValueError, match='starts'):
            search.fit_grid(lambda grid: euler(80 * X, grid), jnp.asarray(TARGET), VE, bad)
    with pytest.raises(ValueError, match='not finite'):
        search.fit_grid(lambda grid: jnp.full_like(TARGET, jnp.nan), jnp.asarray(TARGET), VE, [times.karras(1)])
