"""The bound of masked diffusion against sums over all sequences and masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import likelihood, objectives, schedules, times
from diffusion_jax.data import markov
from diffusion_jax.types import Batch, Frozen
from tests import enumerated

K, L = 3, 3
RNG = np.random.default_rng(1)
INITIAL, TRANSITION = RNG.dirichlet(np.ones(K)), RNG.dirichlet(np.ones(K), K)
JOINT = enumerated.joint(INITIAL, TRANSITION, L)
CHAIN = markov.MarkovChain(jnp.asarray(INITIAL, jnp.float32), jnp.asarray(TRANSITION, jnp.float32))
OTHER = markov.cyclic(K, 0.5, 0.4)
ALL, MASKS = enumerated.sequences(K, L), enumerated.masks(L)
SCHEDULES = {
    'linear': schedules.PolynomialMasking(),
    'square': schedules.PolynomialMasking(2.0),
    'cosine': schedules.CosineMasking(),
    'flow': schedules.RectifiedFlow(),
}


def exact(schedule, categorical, n=48):
    """The bound of each of `ALL` in nats: the integrand's mean over all masks, by Gauss-Legendre in t."""
    x_0 = jnp.asarray(np.repeat(ALL, len(MASKS), 0))[..., None]
    hidden = jnp.asarray(np.tile(MASKS, (len(ALL), 1)))
    x_t = jnp.where(hidden[..., None], K, x_0)
    logits = categorical(x_t, jnp.zeros(len(x_t)))
    nodes, weights = np.polynomial.legendre.leggauss(n)

    def at(t):
        terms = likelihood.masked_term(logits, schedule, x_0, x_t, jnp.full(len(x_0), t))
        u = schedule.sigma(t)
        p = jnp.prod(jnp.where(hidden, u, 1 - u), axis=1)
        return (p * terms).reshape(len(ALL), len(MASKS)).sum(1) * L * np.log(2)

    return weights / 2 @ np.asarray(jax.lax.map(at, jnp.asarray((nodes + 1) / 2, jnp.float32)))


def log_p_of(chain):
    p = enumerated.joint(np.asarray(chain.initial, np.float64), np.asarray(chain.transition, np.float64), L)
    return lambda x_t: np.log(enumerated.conditional(p, K, L, x_t))


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_bound_of_the_exact_denoiser_is_the_likelihood(name):
    """Masks vanish one at a time almost surely, so that the bound is tight for each sequence, on every schedule."""
    np.testing.assert_allclose(exact(SCHEDULES[name], markov.categorical(CHAIN)), -np.log(JOINT), rtol=2e-5)


def test_of_independent_tokens_it_is_their_entropy():
    independent = markov.MarkovChain(CHAIN.initial, jnp.tile(CHAIN.initial, (K, 1)))
    p = np.prod(INITIAL[ALL], axis=1)
    expected = -L * (INITIAL * np.log(INITIAL)).sum()
    for schedule in SCHEDULES.values():
        np.testing.assert_allclose(p @ exact(schedule, markov.categorical(independent)), expected, rtol=1e-5)


@pytest.mark.parametrize('name', SCHEDULES)
def test_of_another_model_it_is_the_integral_over_numbers_of_masks(name):
    expected = [enumerated.bound(log_p_of(OTHER), x_0, K) for x_0 in ALL]
    np.testing.assert_allclose(exact(SCHEDULES[name], markov.categorical(OTHER)), expected, rtol=2e-5)
    assert min(expected + np.log(JOINT)) < -0.1 < 0 < JOINT @ (expected + np.log(JOINT))  # a bound in the mean alone


def test_it_is_the_limit_of_the_discrete_time_bound():
    x_0, found = ALL[5], exact(SCHEDULES['linear'], markov.categorical(OTHER))[5]
    apart = [
        enumerated.discrete_bound(log_p_of(OTHER), x_0, K, np.linspace(0, 1, T + 1)) - found for T in (25, 50, 100)
    ]
    np.testing.assert_allclose(np.divide(apart[:2], apart[1:]), 2, atol=0.1)  # of first order in 1 / T
    assert abs(2 * apart[2] - apart[1]) < 2e-4  # Richardson


def test_the_estimate_is_unbiased():
    n, which = 4000, np.array([5, 20])
    exactly = np.array([enumerated.bound(log_p_of(OTHER), ALL[i], K) for i in which]) / L / np.log(2)
    for name in ('linear', 'cosine'):
        bound = jax.jit(likelihood.masked(markov.categorical(OTHER), SCHEDULES[name], K, terms=4))
        terms = bound(jax.random.key(3), jnp.asarray(ALL[which].repeat(n, 0))[..., None])
        assert terms.terms.shape == (2 * n, 4)
        np.testing.assert_allclose(terms.total, terms.terms.mean(1), rtol=1e-6)
        rows = np.asarray(terms.total, np.float64).reshape(2, n)
        assert (abs(rows.mean(1) - exactly) < 4 * rows.std(1) / np.sqrt(n)).all()
        assert (rows.std(1) / np.sqrt(n) < 0.02 * exactly).all()  # so that the test can see


def test_the_objective_is_the_same_bound_of_values():
    model = lambda params, cond, key: lambda x, t: params * markov.categorical(OTHER)(x, t)  # noqa: E731
    x = jnp.asarray(ALL, jnp.float32)[..., None] - 1  # levels 0, 1, 2 as values in [-1, 1]
    keys = jax.random.split(jax.random.key(0), 2000)
    exactly = np.mean([enumerated.bound(log_p_of(OTHER), x_0, K) for x_0 in ALL]) / L / np.log(2)
    for name in ('linear', 'cosine'):
        loss = objectives.masked(model, SCHEDULES[name], K, times.low_discrepancy()).loss
        run = jax.jit(jax.vmap(lambda key, loss=loss: loss(jnp.array(1.0), Frozen(), key, Batch(x), jnp.array(0))[0]))
        values = np.asarray(run(keys), np.float64)
        assert abs(values.mean() - exactly) < 4 * values.std() / np.sqrt(len(keys))
        assert values.std() / np.sqrt(len(keys)) < 0.01 * exactly


def test_the_ends_are_finite():
    """At t = 0 the weight is infinite and nothing is masked; at t = 1 everything is, with weight sigma'(1)."""
    x_0 = jnp.asarray(ALL)[..., None]
    logits = jnp.asarray(RNG.normal(size=(*x_0.shape, K)), jnp.float32)

    def term(logits, x_t, t):
        return likelihood.masked_term(logits, schedules.PolynomialMasking(3.0), x_0, x_t, jnp.full(len(x_0), t)).mean()

    assert term(logits, x_0, 0.0) == 0
    assert (jax.grad(term)(logits, x_0, 0.0) == 0).all()
    p = np.exp(np.asarray(logits, np.float64))
    nats = -np.log(np.take_along_axis(p / p.sum(-1, keepdims=True), np.asarray(x_0)[..., None], -1)).mean()
    np.testing.assert_allclose(term(logits, jnp.full_like(x_0, K), 1.0), 3 * nats / np.log(2), rtol=1e-5)
    assert jnp.isfinite(jax.grad(term)(logits, jnp.full_like(x_0, K), 1.0)).all()
