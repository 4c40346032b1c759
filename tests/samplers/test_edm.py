"""Euler and Heun against DDIM, the formula of EDM's paper in NumPy and, at their ends, the exact map."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, times
from tests import oracles
from tests.oracles import GAUSSIAN as DATA
from tests.oracles import MIXTURE
from tests.samplers.test_ancestral import PATHS, affine_steps, bind, grid_for, scales

SOLVERS = (samplers.euler, samplers.heun)
KEY = jax.random.key(0)
NS = (40, 80, 160)


def run(sampler, x, grid):
    return jax.jit(lambda x: samplers.sample(sampler, KEY, x, grid))(x)


def start(schedule, t_max):
    return jnp.asarray(np.random.default_rng(0).normal(size=(6, 2))) * schedule.sigma(jnp.asarray(t_max))


def test_heun_from_no_signal_on_equal_steps_costs_a_logarithm(x64):
    """The k-th step from alpha = 0 errs by h^2 / k: these add up to h^2 log(1 / h), still better than any order < 2."""
    schedule, t_max = PATHS['TrigFlow']
    x, errors = start(schedule, t_max), []
    exact = MIXTURE.pf_ode(np.asarray(x), *scales(schedule, [t_max, 0.0]))
    sampler = samplers.heun(bind(MIXTURE, schedule), schedule)
    for n in NS:
        errors.append(np.sqrt(np.mean((np.asarray(run(sampler, x, times.uniform(n, t_max))) - exact) ** 2)))
    assert abs(oracles.order(NS, errors / np.log(NS)) - 2) < 0.15, errors


@pytest.mark.parametrize('name', PATHS)
def test_euler_is_ddim(name, x64):
    schedule, t_max = PATHS[name]
    denoise, grid, x = bind(MIXTURE, schedule), grid_for(name, 7), start(schedule, t_max)
    runs = [run(make(denoise, schedule), x, grid) for make in (samplers.euler, samplers.ddim)]
    np.testing.assert_allclose(*runs, rtol=1e-9, atol=1e-12)


def edm_paper(denoise, x, sigmas):
    """Algorithm 1 of arXiv 2206.00364 with sigma(t) = t and no churn, in NumPy."""
    for t, s in pairwise(sigmas):
        d = (x - denoise(x, 1.0, t)) / t
        x_next = x + (s - t) * d
        if s != 0:
            d_next = (x_next - denoise(x_next, 1.0, s)) / s
            x_next = x + (s - t) * (d + d_next) / 2
        x = x_next
    return x


@pytest.mark.parametrize('name', ['VE', 'LinearVP'])
def test_heun_is_the_papers_algorithm(name, x64):
    """LinearVP as VE: the same numbers for x / alpha at the levels sigma / alpha."""
    schedule, t_max = PATHS[name]
    grid, x = grid_for(name, 8), start(schedule, t_max)
    a, s = np.array(scales(schedule, grid)).T
    want = edm_paper(MIXTURE.denoise, np.asarray(x) / a[0], s / a)
    got = run(samplers.heun(bind(MIXTURE, schedule), schedule), x, grid)
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(('make', 'evaluations'), [(samplers.euler, 18), (samplers.heun, 35)])
def test_number_of_evaluations(make, evaluations):
    """EDM's 35 evaluations on CIFAR-10 are 18 steps, the last without a second one."""
    seen = []

    def denoise(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t[0])
        return 0.5 * x

    run(make(denoise, schedules.VE()), jnp.ones((2, 1)), times.karras(18)).block_until_ready()
    jax.effects_barrier()
    assert len(seen) == evaluations
    assert min(seen) > 0


def test_times_may_differ_between_samples(x64):
    """A distillation loss steps every sample between its own times, to clean data included."""
    schedule = schedules.RectifiedFlow()
    denoise = bind(DATA, schedule)
    x, t, s = jnp.array([[0.5], [-1.0], [2.0]]), jnp.array([1.0, 0.6, 0.3]), jnp.array([0.7, 0.5, 0.0])
    for make in (samplers.euler_step, samplers.heun_step):
        step = make(denoise, schedule)
        alone = [step(x[i : i + 1], t[i : i + 1], s[i : i + 1]) for i in range(3)]
        np.testing.assert_allclose(step(x, t, s), jnp.concatenate(alone), rtol=1e-12)
        a, b = np.array(scales(schedule, t)), np.array(scales(schedule, s))
        exact = np.concatenate([DATA.pf_ode(np.asarray(x[i]), a[i], b[i]) for i in range(2)])[:, None]
        np.testing.assert_allclose(step(x, t, s)[:2], exact, atol=0.02)
        np.testing.assert_allclose(step(x, t, s)[2:], denoise(x, t)[2:], rtol=1e-12)


@pytest.mark.parametrize('make', SOLVERS)
@pytest.mark.parametrize('steps', [1, 3])
def test_starts_without_signal_stay_finite_and_so_do_gradients(make, steps):
    table = schedules.DiscreteVP(np.append(schedules.linear_betas(999), 1.0))
    for schedule, t_max in [(table, 1.0), PATHS['RectifiedFlow'], PATHS['VE']]:

        def total(x, gain, schedule=schedule, t_max=t_max):
            sampler = make(lambda x, t: gain * x * jnp.log(t)[:, None], schedule)
            return jnp.sum(samplers.sample(sampler, KEY, x, times.uniform(steps, t_max)))

        out, grads = jax.value_and_grad(total, (0, 1))(jnp.ones((2, 1)), 0.5)
        assert jnp.isfinite(out)
        assert all(jnp.isfinite(g).all() for g in grads)


@pytest.mark.parametrize('name', ['CosineVP', 'RectifiedFlow', 'TrigFlow'])
@pytest.mark.parametrize('make', SOLVERS)
def test_float32_starts_without_signal_too(name, make):
    """There cos(pi / 2) is -4e-8."""
    schedule, t_max = PATHS[name]
    x, grid = jnp.array([[0.5], [-1.5]], jnp.float32), times.uniform(100, t_max)
    start = scales(schedule, jnp.array([t_max, 0.0], jnp.float32))
    exact = DATA.pf_ode(np.asarray(x, np.float64), *start)
    np.testing.assert_allclose(run(make(bind(DATA, schedule), schedule), x, grid), exact, atol=0.02)


# S_churn, S_min, S_max, S_noise: the paper's for CIFAR-10; gamma at its most; a little, at every level
CHURNS = [(30.0, 0.01, 1.0, 1.007), (100.0, 0.05, 50.0, 1.003), (2.0, 0.0, 100.0, 1.0)]


def churned_steps(grid, S_churn, S_min, S_max, S_noise):
    """Algorithm 2 of arXiv 2206.00364 on Gaussian data, as affine maps."""
    n, steps = len(grid) - 1, []
    for t, s in pairwise(grid):
        gamma = min(S_churn / n, np.sqrt(2) - 1) if S_min <= t <= S_max else 0
        t_hat = t + gamma * t
        intercept, at_one = (edm_paper(DATA.denoise, x, [t_hat, s]) for x in (0.0, 1.0))
        slope = at_one - intercept
        steps.append(oracles.Affine(slope, intercept, slope * np.sqrt(t_hat**2 - t**2) * S_noise))
    return steps


@pytest.mark.parametrize('churn', CHURNS)
def test_every_step_with_churn_is_the_papers_and_so_are_the_moments(churn, x64):
    grid = times.karras(18)
    got = affine_steps(samplers.edm_churn(bind(DATA, schedules.VE()), schedules.VE(), 18, *churn), grid)
    want = churned_steps(grid, *churn)
    np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(*(oracles.moments(steps, 0.0, 80.0**2) for steps in (got, want)), rtol=1e-8)
    levels = (churn[1] <= grid[:-1]) & (grid[:-1] <= churn[2])
    np.testing.assert_array_equal(np.array(got)[:, 2] != 0, levels)
    assert levels.any()


def test_churn_keeps_the_data_with_an_error_of_order_2(x64):
    """With S_noise = 1 what is added is what t + gamma t has more than t: no variance is made or lost but by Heun."""
    ns, errors = (200, 400, 800), []
    for n in ns:
        sampler = samplers.edm_churn(bind(DATA, schedules.VE()), schedules.VE(), n, 40.0, 0.0, 100.0, 1.0)
        mean, var = oracles.moments(affine_steps(sampler, times.karras(n)), *DATA.marginal(1.0, 80.0))[:, -1]
        np.testing.assert_allclose(mean, DATA.mean, rtol=1e-6)
        errors.append(abs(var - DATA.var))
    assert abs(oracles.order(ns, errors) - 2) < 0.15, errors


def test_no_churn_is_heun_and_the_defaults_are_the_papers():
    VE, x = schedules.VE(), start(schedules.VE(), 80.0)
    denoise, grid = bind(MIXTURE, VE), times.karras(8)
    heun = run(samplers.heun(denoise, VE), x, grid)
    np.testing.assert_array_equal(run(samplers.edm_churn(denoise, VE, 8, S_churn=0.0), x, grid), heun)
    default, paper = (run(samplers.edm_churn(denoise, VE, 8, *churn), x, grid) for churn in ((), CHURNS[0]))
    np.testing.assert_array_equal(default, paper)
    assert not np.array_equal(default, heun)


def test_churn_refuses_other_schedules_and_impossible_numbers():
    for schedule, n, S_churn in ((schedules.LinearVP(), 8, 1.0), (schedules.VE(), 0, 1.0), (schedules.VE(), 8, -1.0)):
        with pytest.raises(ValueError, match=r'VE schedule|n must be .*in \[1, inf\)|S_churn must be in \[0, inf\)'):
            samplers.edm_churn(lambda x, t: x, schedule, n, S_churn)
