"""Restoration on Gaussian data, where p(x | y) and every moment of the method itself are known."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import editing, samplers, schedules, times
from diffusion_jax.data.quantise import to_uint8
from tests.oracles import GAUSSIAN
from tests.samplers.test_ancestral import bind, scales

VE, VP = schedules.VE(), schedules.LinearVP()
KEY = jax.random.key(0)
RHO, Y = 0.8, 1.5
C = np.array([[1, RHO], [RHO, 1]])  # covariance of the data, of mean 0
FIRST = editing.inpaint(jnp.array([True, False]))  # what is known: the first of two values
# sampler, schedule, grid
RUNS = {
    'ancestral': (samplers.ancestral, VP, times.uniform(6)),
    'ddim': (samplers.ddim, VP, times.uniform(6)),
    'heun': (samplers.heun, VE, times.karras(6)),
    'renoise': (samplers.renoise, VE, times.multistep(6)),
}


def correlated(schedule):
    """The exact denoiser of that data."""

    def denoise(x, t):
        a, s = schedule.alpha(t)[0], schedule.sigma(t)[0]
        return x @ (a * jnp.asarray(C) @ jnp.linalg.inv(a**2 * C + s**2 * jnp.eye(2))).T

    return denoise


@pytest.mark.parametrize('name', RUNS)
def test_known_values_are_exact_and_independent_ones_are_as_without_them(name):
    make, schedule, grid = RUNS[name]
    denoise = bind(GAUSSIAN, schedule)
    mask = jnp.arange(5) < 3
    operator, x = editing.inpaint(mask), jax.random.uniform(jax.random.key(1), (64, 5), minval=-1)

    @jax.jit
    def both(x):
        y = operator.A(x)
        sampler = make(editing.project(denoise, operator, y), schedule)
        nothing = editing.inpaint(jnp.zeros(5, bool))
        free = editing.restore(make(denoise, schedule), schedule, nothing, KEY, jnp.zeros_like(x), grid)
        return editing.restore(sampler, schedule, operator, KEY, y, grid), free

    out, free = both(x)
    np.testing.assert_array_equal(out[:, mask], x[:, mask])
    np.testing.assert_array_equal(to_uint8(out)[:, mask], to_uint8(x)[:, mask])
    np.testing.assert_allclose(out[:, ~mask], free[:, ~mask], rtol=1e-5, atol=1e-6)
    assert np.std(out[:, ~mask]) > 0.1


def test_the_sampler_alone_ends_at_the_known_values():
    """Every prediction is projected, the last one included: `restore` has nothing left to correct."""
    for make, schedule, grid in RUNS.values():
        y = jnp.full((4, 2), 0.7)
        sampler = make(editing.project(correlated(schedule), FIRST, y), schedule)
        x_T = schedule.sigma(jnp.float32(grid[0])) * jax.random.normal(KEY, (4, 2))
        np.testing.assert_allclose(samplers.sample(sampler, KEY, x_T, grid)[:, 0], 0.7, rtol=1e-6)


@pytest.mark.parametrize('operator', [editing.super_resolve(2), editing.colourise((0.5, 0.25, 0.25))])
def test_other_operators_hold_to_rounding(operator):
    x = jax.random.uniform(KEY, (3, 4, 4, 3), minval=-1)
    y = operator.A(x)
    sampler = samplers.renoise(editing.project(lambda x, t: x / 3, operator, y), VE)
    out = editing.restore(sampler, VE, operator, KEY, y, times.multistep(3))
    np.testing.assert_allclose(operator.A(out), y, atol=1e-6)
    assert not np.allclose(out, operator.pinv(y), atol=1e-3)


def test_with_renoise_it_is_consistency_models_algorithm_4(x64):
    """The paper's (arXiv 2303.01469) in NumPy with the same noises; its invertible A is the identity here."""
    grid, omega = times.multistep(4), np.array([0.0, 1.0])  # 1: to be filled in
    y = np.array([[Y, 0.0], [-0.5, 0.0]])
    f = correlated(VE)
    drawn = [samplers.noise(samplers.fold_in(KEY, 0), jnp.asarray(y))]
    drawn += [samplers.noise(samplers.fold_in(samplers.fold_in(KEY, 1), i), jnp.asarray(y)) for i in range(4)]
    x = y * (1 - omega) + grid[0] * np.asarray(drawn[0])
    for n, t in enumerate(grid[:-1]):
        x_0 = np.asarray(f(jnp.asarray(x), jnp.full(2, t)))
        x_0 = y * (1 - omega) + x_0 * omega
        x = x_0 + np.sqrt(max(grid[n + 1] ** 2 - 0.002**2, 0)) * np.asarray(drawn[n + 1])
    sampler = samplers.renoise(editing.project(f, FIRST, jnp.asarray(y)), VE)
    got = editing.restore(sampler, VE, FIRST, KEY, jnp.asarray(y), grid)
    np.testing.assert_allclose(got, x, rtol=1e-9)


def moments(schedule, grid, stochastic):
    """Mean and covariance of what DDIM (or DDPM) with projection draws given Y: a recursion of matrices."""
    ab = scales(schedule, grid)
    known = np.diag([1.0, 0.0])
    mean, cov = ab[0][0] * np.array([Y, 0]), ab[0][1] ** 2 * np.eye(2)
    for (a, s), (b, r) in pairwise(ab):
        if r > s:  # noise again
            A, offset, var = a and b / a, 0.0, r**2 - (b / a * s) ** 2
        else:
            D = (np.eye(2) - known) @ (a * C @ np.linalg.inv(a**2 * C + s**2 * np.eye(2)))
            var = stochastic * (s**2 - (a / b * r) ** 2) * r**2 / s**2
            direction = np.sqrt(r**2 - var)
            A = direction / s * np.eye(2) + (b - direction * a / s) * D
            offset = (b - direction * a / s) * np.array([Y, 0])
        mean, cov = A * mean if np.isscalar(A) else A @ mean + offset, _carried(A, cov) + var * np.eye(2)
    return mean, cov


def _carried(A, cov):
    A = A * np.eye(2) if np.isscalar(A) else A
    return A @ cov @ A.T


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'stochastic'), [('ancestral', True), ('ddim', False)])
def test_moments_are_the_methods_own_and_time_travel_brings_them_to_the_posterior(name, stochastic, x64):
    """Projection alone is far off p(x | y): the mean of the hidden value should be rho Y = 1.2, its variance 0.36."""
    make = RUNS[name][0]
    n, grid, means = 20_000, times.uniform(12), []
    y = jnp.tile(jnp.array([[Y, 0.0]]), (n, 1))
    sampler = editing.time_travel(make(editing.project(correlated(VP), FIRST, y), VP), VP)
    run = jax.jit(lambda key, grid: editing.restore(sampler, VP, FIRST, key, y, grid))
    for repeats in (1, 8):
        there_and_back = editing.travels(grid, 1, repeats)
        mean, cov = moments(VP, there_and_back, stochastic)
        x = np.asarray(run(KEY, there_and_back))
        np.testing.assert_array_equal(x[:, 0], Y)
        assert abs(x[:, 1].mean() - mean[1]) < 4 * np.sqrt(cov[1, 1] / n)
        assert abs(x[:, 1].var() / cov[1, 1] - 1) < 4 * np.sqrt(2 / n)
        means.append(mean[1])
    bias = np.abs(np.array(means) - RHO * Y)
    assert bias[0] > 0.4
    assert bias[1] < bias[0] / 3
