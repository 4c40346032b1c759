"""Multistep consistency sampling against the exact moments of its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, times
from tests import oracles
from tests.oracles import GAUSSIAN as DATA
from tests.samplers.test_ancestral import PATHS, affine_steps, grid_for, scales


def exact(schedule):
    """The consistency function of Gaussian data, down to clean data."""

    def f(x, t):
        a, s = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        return quantile_map(x, a, s, 1.0, 0.0)

    return f


def quantile_map(x, a_t, s_t, a_s, s_s):
    ratio = (a_s**2 * DATA.var + s_s**2) / (a_t**2 * DATA.var + s_t**2)
    return a_s * DATA.mean + jnp.sqrt(ratio) * (x - a_t * DATA.mean)


@pytest.mark.parametrize('name', PATHS)
def test_every_step_is_the_map_with_fresh_noise(name, x64):
    schedule, _ = PATHS[name]
    grid = grid_for(name, 4)
    f = samplers.renoise(exact(schedule), schedule, sigma_min=0.0)
    ab = scales(schedule, grid)
    for (a, s), end, got in zip(ab[:-1], ab[1:], affine_steps(f, grid), strict=True):
        slope = np.sqrt(DATA.var / (a**2 * DATA.var + s**2))
        want = end[0] * slope, end[0] * (DATA.mean - slope * a * DATA.mean), end[1]
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    assert ab[-1][1] == 0


@pytest.mark.parametrize('name', PATHS)
@pytest.mark.parametrize('steps', [1, 2, 4])
def test_the_exact_function_keeps_the_exact_moments(name, steps, x64):
    """Unlike DDPM's, its marginals are the data's for any number of steps."""
    schedule, _ = PATHS[name]
    grid = grid_for(name, steps)
    ab = scales(schedule, grid)
    run = oracles.moments(affine_steps(samplers.renoise(exact(schedule), schedule, 0.0), grid), *DATA.marginal(*ab[0]))
    np.testing.assert_allclose(run, np.array([DATA.marginal(*c) for c in ab[1:]]).T, rtol=1e-9)


@pytest.mark.parametrize('sigma_min', [None, 0.002, 0.5])
def test_noise_is_algorithm_1s(sigma_min, x64):
    """sqrt(s^2 - sigma_min^2), of the schedule's sigma_min by default; none at sigma_min and below."""
    schedule = schedules.VE(sigma_min=0.1)
    least = 0.1 if sigma_min is None else sigma_min
    grid = np.array([80.0, 5.0, 1.1 * least, least, least / 2, 0.0])
    steps = affine_steps(samplers.renoise(lambda x, t: 0.5 * x, schedule, sigma_min), grid)
    want = np.sqrt(np.maximum(grid[1:] ** 2 - least**2, 0))
    np.testing.assert_allclose([step[2] for step in steps], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('name', 'grid'), [('VE', [80.0, 5.0, 1.0]), ('TrigFlow', [np.pi / 2, 1.0, 0.6])])
def test_a_function_to_sigma_min_keeps_the_marginals_of_the_path(name, grid, x64):
    """Data with noise of sigma_min come out of f, and with it x_s has the path's moments: not so with sigma_s."""
    schedule, _ = PATHS[name]
    held = 0.2

    def f(x, t):
        return quantile_map(x, schedule.alpha(t)[:, None], schedule.sigma(t)[:, None], 1.0, held)

    ab = scales(schedule, np.array(grid))
    run = oracles.moments(affine_steps(samplers.renoise(f, schedule, held), np.array(grid)), *DATA.marginal(*ab[0]))
    np.testing.assert_allclose(run, np.array([DATA.marginal(*c) for c in ab[1:]]).T, rtol=1e-9)


def test_whole_run_has_fresh_noise_in_every_step():
    """By sampling, from a map that halves: Var[x_s] = Var[x_t] / 4 + s^2 if the noises are independent."""
    n, grid = 100_000, np.array([4.0, 2.0, 1.0, 0.0])
    x = samplers.prior(jax.random.key(0), schedules.VE(), (n, 1), grid[0])
    sampler = samplers.renoise(lambda x, t: x / 2, schedules.VE(), 0.0)
    out = np.asarray(samplers.sample(sampler, jax.random.key(1), x, grid), np.float64)
    var = ((16 / 4 + 4) / 4 + 1) / 4
    assert abs(out.mean()) < 4 * np.sqrt(var / n)
    assert abs(out.var() / var - 1) < 4 * np.sqrt(2 / n)


def test_jump_is_the_flow_map_itself(x64):
    def flow_map(x, t, s):
        return quantile_map(x, 1.0, t[:, None], 1.0, s[:, None])

    x, grid = jnp.array([[30.0], [-10.0]]), times.karras(3, 0.1, 20.0)
    got = samplers.sample(samplers.jump(flow_map), jax.random.key(0), x, grid)
    np.testing.assert_allclose(got, DATA.pf_ode(np.asarray(x), (1.0, 20.0), (1.0, 0.0)), rtol=1e-12)
