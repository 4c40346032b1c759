"""Euler-Maruyama and predictor-corrector against their formulas in NumPy, the exact moments, and both ends."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, times
from tests import oracles
from tests.oracles import GAUSSIAN as DATA
from tests.samplers.test_ancestral import PATHS, affine_steps, bind, scales

KEY = jax.random.key(0)
# f and g^2 by hand (arXiv 2011.13456, eq. 11 for VP; the rest from their definitions)
SDES = {
    'LinearVP': lambda t: (-(0.1 + 19.9 * t) / 2, 0.1 + 19.9 * t),
    'VE': lambda t: (0.0, 2 * t),
    'RectifiedFlow': lambda t: (-1 / (1 - t), 2 * t / (1 - t)),
}


def em_steps(name, grid):
    """The map x - h (f x - g^2 score) + g sqrt(h) z on Gaussian data, as affine maps."""
    schedule, steps = PATHS[name][0], []
    for t, s in pairwise(grid):
        (a, sigma), (f, g2), h = scales(schedule, [t])[0], SDES[name](t), t - s
        mean, var = DATA.marginal(a, sigma)
        steps.append(oracles.Affine(1 - h * (f + g2 / var), h * g2 * mean / var, np.sqrt(g2 * h)))
    return steps


@pytest.mark.parametrize('name', SDES)
def test_euler_maruyama_is_its_formula_and_of_weak_order_1(name, x64):
    schedule, t_max = PATHS[name]
    sampler, ns, errors = samplers.euler_maruyama(bind(DATA, schedule), schedule), (200, 400, 800), []
    grids = {n: t_max * np.linspace(0.9, 0.05, n + 1) for n in (20, *ns)}
    np.testing.assert_allclose(affine_steps(sampler, grids[20]), em_steps(name, grids[20]), rtol=1e-7, atol=1e-9)
    for n in ns:
        start, end = (DATA.marginal(*scales(schedule, [t])[0]) for t in grids[n][[0, -1]])
        errors.append(np.abs(oracles.moments(em_steps(name, grids[n]), *start)[:, -1] - end).max())
    assert abs(oracles.order(ns, errors) - 1) < 0.15, errors


@pytest.mark.parametrize('name', ['RectifiedFlow', 'TrigFlow'])
def test_ends_are_ddpms_steps(name):
    """From alpha = 0 (in float32 beside it) and to clean data; the data's moments come out at 60 steps."""
    schedule, t_max = PATHS[name]
    denoise, grid = bind(DATA, schedule), times.uniform(60, t_max)
    got = affine_steps(samplers.euler_maruyama(denoise, schedule), grid)
    ddpm = affine_steps(samplers.ancestral(denoise, schedule), grid)
    for i in (0, -1):
        np.testing.assert_allclose(got[i], ddpm[i], rtol=1e-4, atol=1e-5)
    assert got[-1].std == 0
    start = DATA.marginal(*scales(schedule, grid)[0])
    np.testing.assert_allclose(oracles.moments(got, *start)[:, -1], (DATA.mean, DATA.var), atol=0.05)


def test_the_step_to_clean_data_adds_no_noise():
    """On VE, where pure noise does not grow in it."""
    schedule, x = schedules.VE(), jnp.array([[0.4], [-0.2]])
    sampler = samplers.euler_maruyama(lambda x, t: 0.5 * x, schedule)
    np.testing.assert_allclose(samplers.sample(sampler, KEY, x, jnp.array([0.5, 0.0])), 0.5 * x, rtol=1e-6)


def corrected(x, key, schedule, t, s, snr, steps):
    """Algorithms 4 and 5 of arXiv 2011.13456 on Gaussian data, in NumPy, a sample at a time."""
    (a, _), (a_s, sigma_s) = scales(schedule, [t, s])
    mean, var = DATA.marginal(a_s, sigma_s)
    for i in range(steps):
        z, g = np.asarray(samplers.noise(samplers.fold_in(key, 1 + i), x)), (mean - x) / var
        r = snr * np.linalg.norm(z, axis=1) / np.linalg.norm(g, axis=1)
        epsilon = 2 * (a / a_s) ** 2 * r[:, None] ** 2
        x = x + epsilon * g + np.sqrt(2 * epsilon) * z
    return x


@pytest.mark.parametrize('name', ['LinearVP', 'VE'])
def test_corrector_is_the_papers(name, x64):
    schedule, t_max = PATHS[name]
    denoise, keys = bind(DATA, schedule), jax.random.split(KEY, 4)
    x, t, s = jax.random.normal(KEY, (4, 3)), jnp.asarray(0.6 * t_max), jnp.asarray(0.5 * t_max)
    sampler, predictor = samplers.predictor_corrector(denoise, schedule, 0.2, 2), samplers.ancestral(denoise, schedule)
    got = jax.jit(sampler.step)(keys, sampler.init(x), t, s).x
    predicted = predictor.step(samplers.fold_in(keys, 0), predictor.init(x), t, s).x
    np.testing.assert_allclose(got, corrected(predicted, keys, schedule, t, s, 0.2, 2), rtol=1e-9)
    # A sample is what it is alone.
    alone = jax.jit(sampler.step)(keys[2:3], sampler.init(x[2:3]), t, s).x
    np.testing.assert_allclose(alone, got[2:3], rtol=1e-12)


def test_corrector_brings_a_wrong_variance_back(x64):
    """Twenty predictor steps on VE leave too little variance: Langevin steps after each lead back to the data's."""
    schedule, grid = schedules.VE(), times.karras(20, 0.01, 20.0)
    x = samplers.prior(KEY, schedule, (64, 256), 20.0)
    variance = []
    for corrector_steps in (0, 2):
        sampler = samplers.predictor_corrector(bind(DATA, schedule), schedule, 0.3, corrector_steps)
        out = jax.jit(lambda x, sampler=sampler: samplers.sample(sampler, KEY, x, grid))(x)
        np.testing.assert_allclose(out.mean(), DATA.mean, atol=0.05)
        variance.append(float(out.var()))
    errors = np.abs(np.array(variance) - DATA.var)
    assert errors[1] < errors[0] / 2, variance


@pytest.mark.parametrize('make', [samplers.euler_maruyama, samplers.predictor_corrector])
def test_both_ends_stay_finite(make):
    table = schedules.DiscreteVP(np.append(schedules.linear_betas(999), 1.0))
    for schedule, t_max in [(table, 1.0), PATHS['RectifiedFlow'], PATHS['VE']]:
        sampler = make(lambda x, t: 0.5 * x * jnp.log(t)[:, None], schedule)
        out = samplers.sample(sampler, KEY, jnp.ones((2, 1)), times.uniform(2, t_max))
        assert jnp.isfinite(out).all()


def test_impossible_numbers_are_refused():
    for snr, steps in ((-0.1, 1), (0.1, -1)):
        with pytest.raises(ValueError, match=r'(snr|corrector_steps) must be .*in \[0, inf\)'):
            samplers.predictor_corrector(lambda x, t: x, schedules.VE(), snr, steps)
