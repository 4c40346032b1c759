"""Exponential, multistep and stochastic solvers: their ends, their evaluations, one Brownian path."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, times
from diffusion_jax.samplers import exponential
from diffusion_jax.samplers.sde_dpm_solver import driven_by, path_noise
from tests import oracles
from tests.oracles import GAUSSIAN as DATA
from tests.samplers.test_ancestral import PATHS, bind, scales
from tests.samplers.test_orders import SCHEDULES, grid

KEY = jax.random.key(0)
SOLVERS = {
    'dpm_solver': partial(samplers.dpm_solver, order=3),
    'dpm_solver_pp_single': partial(samplers.dpm_solver_pp_single, order=2),
    'dpm_solver_pp': partial(samplers.dpm_solver_pp, order=3),
    'unipc': partial(samplers.unipc, order=2),
    'deis': partial(samplers.deis, order=3),
    'pndm': samplers.pndm,
}
SDE = partial(samplers.sde_dpm_solver_pp, brownian=jax.random.key(5))


@pytest.mark.parametrize('solver', [SOLVERS['dpm_solver'], samplers.unipc, samplers.pndm, SDE])
def test_ends_stay_finite_and_so_do_gradients(solver):
    """From no signal to clean data in float32, where cos(pi / 2) is -4e-8."""

    def total(x, gain):
        sampler = solver(lambda x, t: gain * x * jnp.log(t)[:, None], schedules.CosineVP())
        return jnp.sum(samplers.sample(sampler, KEY, x, times.uniform(5)))

    out, grads = jax.jit(jax.value_and_grad(total, (0, 1)))(jnp.ones((2, 1)), 0.5)
    assert jnp.isfinite(out)
    assert all(jnp.isfinite(g).all() and (g != 0).all() for g in grads)


@pytest.mark.parametrize('name', SOLVERS)
def test_the_whole_range_in_float32(name):
    """Rectified flow from alpha = 0 to sigma = 0: the ends cost a step of first order each, and no more."""
    schedule = schedules.RectifiedFlow()
    x = jnp.array([[0.5], [-1.5]], jnp.float32)
    exact = DATA.pf_ode(np.asarray(x, np.float64), *scales(schedule, jnp.array([1.0, 0.0])))
    sampler = SOLVERS[name](bind(DATA, schedule), schedule)
    got = jax.jit(lambda x: samplers.sample(sampler, KEY, x, times.uniform(50)))(x)
    np.testing.assert_allclose(got, exact, atol=5e-3)


@pytest.mark.parametrize(
    ('make', 'evaluations'),
    [
        (partial(samplers.dpm_solver, order=3), 1 + 3 * 4 + 1),
        (partial(samplers.unipc, order=3), 6),
        (samplers.pndm, 1 + 3 * 4 + 2),
    ],
)
def test_number_of_evaluations(make, evaluations):
    """In 6 steps, the first from no signal and the last to clean data, where none is evaluated."""
    seen = []

    def denoise(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t[0])
        return 0.5 * x

    sampler = make(denoise, schedules.RectifiedFlow())
    samplers.sample(sampler, KEY, jnp.ones((2, 1)), times.uniform(6)).block_until_ready()
    jax.effects_barrier()
    assert len(seen) == evaluations
    assert min(seen) > 0


def test_first_steps_and_both_ends_are_ddim(x64):
    schedule = schedules.TrigFlow()
    denoise, x = bind(DATA, schedule), jnp.array([[0.5], [-1.5]])
    ddim, *others = (
        jax.jit(lambda t, s, sampler=sampler: sampler.step(KEY, sampler.init(x), t, s).x)
        for sampler in (make(denoise, schedule) for make in (samplers.ddim, samplers.unipc, samplers.deis))
    )
    for t, s in ((np.pi / 2, 0.6), (0.6, 0.2), (0.6, 0.0)):
        for step in others:
            np.testing.assert_allclose(step(t, s), ddim(t, s), rtol=1e-12)


def test_quadrature_is_the_integral(x64):
    """Against phi functions in closed form at a large step, and their series at a small one."""
    for form, z in ((exponential.DATA, -3.0), (exponential.NOISE, 3.0)):
        h, e = jnp.asarray(3.0), np.exp(z)
        zero = jnp.asarray(0.0)
        np.testing.assert_allclose(exponential.integral(form, h, []), 3 * (e - 1) / z, rtol=1e-12)
        np.testing.assert_allclose(exponential.integral(form, h, [zero]), 3 * (e - 1 - z) / z**2, rtol=1e-12)
        np.testing.assert_allclose(exponential.bh2(form, h), 3 * (e - 1) / z, rtol=1e-12)
    small = jnp.asarray(1e-4)
    got = exponential.integral(exponential.DATA, small, [zero, jnp.asarray(-2.0)])
    np.testing.assert_allclose(got, 1e-4 * (1 / 3 + 1 - 1e-4 * (1 / 12 + 1 / 3)), rtol=1e-8)


@pytest.mark.parametrize('make', [samplers.dpm_solver, samplers.dpm_solver_pp, samplers.unipc, samplers.deis])
def test_impossible_orders_are_refused(make):
    with pytest.raises(ValueError, match=r'order must be a whole number in \[1, [34]\]; got 5'):
        make(lambda x, t: x, schedules.VE(), order=5)


def test_unknown_variant_is_refused():
    with pytest.raises(ValueError, match='bh1'):
        samplers.unipc(lambda x, t: x, schedules.VE(), variant='bh3')


def sde_variance(schedule, ts, end_variance):
    """Variance of a run on Gaussian data: affine in its start and in the noise of its steps, so by its derivatives."""

    def final(x, z):
        def noise(x, t, u):
            return jnp.sqrt(schedules.posterior_variance(schedule, t, u)) * z[jnp.argmin(jnp.abs(ts - t))]

        sampler = driven_by(noise, bind(DATA, schedule), schedule)
        return samplers.sample(sampler, KEY, x[None, None], ts)[0, 0]

    by_x, by_z = jax.jit(jax.grad(final, (0, 1)))(0.0, jnp.zeros(len(ts) - 1))
    return by_x**2 * end_variance + jnp.sum(by_z**2)


def test_stochastic_solver_has_the_weak_order_it_declares(x64):
    (schedule, time), ns = SCHEDULES['TrigFlow'], (40, 80, 160)
    (_, start), (_, end) = (DATA.marginal(a, s) for a, s in scales(schedule, grid(time, 1)))
    errors = [abs(sde_variance(schedule, jnp.asarray(grid(time, n)), start) - end) for n in ns]
    assert abs(oracles.order(ns, errors) - SDE(bind(DATA, schedule), schedule).order) < 0.15, errors


def test_one_brownian_path_whatever_the_steps():
    """Twice the steps give the same samples with a smaller difference every time; another key gives others."""
    schedule, t_max = PATHS['RectifiedFlow']
    keys, others = (jax.random.split(jax.random.key(seed), 64) for seed in (1, 2))
    x = samplers.prior(KEY, schedule, (64, 1), t_max)

    @partial(jax.jit, static_argnums=2)
    def run(keys, x, n):
        sampler = samplers.sde_dpm_solver_pp(bind(DATA, schedule), schedule, keys)
        return samplers.sample(sampler, KEY, x, times.uniform(n))

    runs = [run(keys, x, n) for n in (8, 32, 128)]
    gaps = [float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in pairwise(runs)]
    assert gaps[0] < 0.4
    assert gaps[1] < gaps[0] / 2.5, gaps
    np.testing.assert_allclose(run(keys[::-1], x[::-1], 8)[::-1], runs[0], rtol=1e-5, atol=1e-6)
    assert jnp.std(runs[0] - run(others, x, 8)) > 0.3


def test_path_noise_has_the_posteriors_variance_and_steps_do_not_share_it():
    schedule, x = schedules.RectifiedFlow(), jnp.zeros((4096, 1))
    draw = jax.jit(lambda t, s: path_noise(KEY, schedule, x, t, s)[:, 0])
    for t, s in jnp.array([(1.0, 0.9), (0.5, 0.45), (0.02, 0.01), (0.3, 0.0)]):
        noise, std = draw(t, s), jnp.sqrt(schedules.posterior_variance(schedule, t, s))
        np.testing.assert_allclose(noise.std(), std, rtol=5 / np.sqrt(2 * 4096), atol=1e-9)
        assert abs(noise.mean()) <= 5 * std / 64
        assert s == 0 or abs(np.corrcoef(noise, draw(s, s / 2))[0, 1]) < 5 / 64


def test_pndm_on_too_few_steps_stays_finite():
    """Two steps are Runge-Kutta ones; the one to clean data has nothing to evaluate there."""
    schedule = schedules.VE()
    sampler = samplers.pndm(lambda x, t: x * jnp.log(t)[:, None], schedule)
    assert jnp.isfinite(samplers.sample(sampler, KEY, jnp.ones((2, 1)), jnp.array([1.0, 0.5, 0.0]))).all()
    assert sampler.least_steps == 4
