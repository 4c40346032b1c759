"""Averages put together after training: against quadrature, brute-force averages, and exact cases."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from diffusion_jax.optim import ema as emas
from diffusion_jax.optim import post_hoc

STEPS, TRACKS = 400, (0.05, 0.1)


def known(num, tracks=TRACKS, steps=STEPS):
    at = itertools.product(range(steps // num, steps + 1, steps // num), tracks)
    return post_hoc.profiles(*zip(*at, strict=True))


def density(T, sigma_rel):
    return scipy.stats.beta(emas.gamma_of(sigma_rel) + 1, 1, scale=T).pdf


@pytest.mark.parametrize(('a', 'b'), [((3, 0.05), (5, 0.2)), ((5, 0.1), (3, 0.25)), ((4, 0.1), (4, 0.1))])
def test_inner_products_are_integrals(a, b):
    found = post_hoc.inner(*(post_hoc.profiles([T], [sigma_rel]) for T, sigma_rel in (a, b)))
    exact, _ = scipy.integrate.quad(lambda t: density(*a)(t) * density(*b)(t), 0, min(a[0], b[0]), epsabs=1e-12)
    np.testing.assert_allclose(found, [[exact]], rtol=1e-8)


@pytest.mark.parametrize('index', [0, 3, 7])
def test_a_profile_that_is_there_is_taken_as_it_is(index):
    profiles = known(4)
    fit = post_hoc.fit(profiles, int(profiles.T[index]), TRACKS[index % 2])
    np.testing.assert_allclose(fit.weights, np.eye(8)[index], atol=1e-10)
    assert fit.residual < 1e-6


@pytest.mark.parametrize('sigma_rel', [0.02, 0.07, 0.15, 0.25])
def test_the_fit_is_the_least_squares_of_sampled_profiles(sigma_rel):
    """On a fine grid of t, by NumPy's own least squares, with and without the weights' sum brought to 1."""
    profiles, t = known(4), (np.arange(200_000) + 0.5) * STEPS / 200_000
    sampled = np.stack([density(T, TRACKS[i % 2])(t) for i, T in enumerate(profiles.T)], 1)
    wanted = density(STEPS, sigma_rel)(t)
    weights = np.linalg.lstsq(sampled, wanted)[0]
    weights /= weights.sum()
    fit = post_hoc.fit(profiles, STEPS, sigma_rel)
    np.testing.assert_allclose(fit.weights, weights, rtol=1e-3, atol=1e-3)
    missing = np.linalg.norm(sampled @ weights - wanted) / np.linalg.norm(wanted)
    np.testing.assert_allclose(fit.residual, missing, rtol=1e-3)
    np.testing.assert_allclose(fit.weights.sum(), 1, rtol=1e-12)


@pytest.fixture(scope='module')
def trajectory():
    """Parameters after each of 400 steps that drift and jitter, and their averages of two lengths on the way."""
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.normal(0, 0.1, (STEPS, 50)), 0) + rng.normal(0, 1, (STEPS, 50))
    with jax.enable_x64(True):
        tracks = {}
        for sigma_rel in TRACKS:
            power, ema, tracks[sigma_rel] = jax.jit(emas.power(sigma_rel)), jnp.zeros(50), []
            for k, params in enumerate(path):
                ema = power(ema, jnp.asarray(params), jnp.int32(k))
                tracks[sigma_rel].append(np.asarray(ema))
    return path, tracks


def brute_force(path, step, sigma_rel):
    gamma, K = emas.gamma_of(sigma_rel), np.arange(step + 1)
    return np.diff((K / step) ** (gamma + 1)) @ path[:step]


def reconstructed(tracks, num, step, sigma_rel):
    at = (np.arange(1, num + 1) * STEPS // num).tolist()
    pairs = [(k, s) for k, s in itertools.product(at, TRACKS) if k <= step]
    fit = post_hoc.fit(post_hoc.profiles(*zip(*pairs, strict=True)), step, sigma_rel)
    return fit, sum(w * tracks[s][k - 1] for w, (k, s) in zip(fit.weights, pairs, strict=True))


@pytest.mark.parametrize('sigma_rel', [0.03, 0.07, 0.15, 0.2])
def test_more_snapshots_come_closer_to_the_average_that_was_not_kept(trajectory, sigma_rel):
    path, tracks = trajectory
    exact = brute_force(path, STEPS, sigma_rel)
    errors, residuals = [], []
    for num in (2, 4, 8, 16, 40):
        fit, found = reconstructed(tracks, num, STEPS, sigma_rel)
        errors.append(np.linalg.norm(found - exact))
        residuals.append(fit.residual)
    assert sorted(residuals, reverse=True) == residuals
    assert errors[-1] < errors[0] / 30
    assert errors[-1] < 0.01 * np.linalg.norm(exact)
    assert residuals[-1] < 0.01


def test_at_an_earlier_step_only_what_came_before_counts(trajectory):
    path, tracks = trajectory
    _, found = reconstructed(tracks, 40, 200, 0.15)
    np.testing.assert_allclose(found, brute_force(path, 200, 0.15), atol=0.01)


def test_a_constant_is_its_own_average():
    """Whatever the residual: the weights' sum is 1."""
    for sigma_rel in (0.01, 0.28):
        fit = post_hoc.fit(known(2), STEPS, sigma_rel)
        np.testing.assert_allclose(fit.weights.sum(), 1, rtol=1e-12)
        assert fit.residual > 0.5


def test_hundreds_of_snapshots_of_millions_of_steps():
    """Nothing overflows, and the equations are still solved: the residual falls as it does for few."""
    fit = post_hoc.fit(known(500, steps=5_000_000), 5_000_000, 0.02)
    assert np.isfinite(fit.weights).all()
    assert fit.residual < 3e-4
