import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import reverse, schedules
from tests import oracles

BETAS = schedules.linear_betas(1000)
TABLE = schedules.DiscreteVP(BETAS)
ABAR = np.concatenate([[1.0], np.cumprod(1 - BETAS)])
K = np.array([1, 2, 3, 500, 1000])


def fixed_small(k):
    # OpenAI's posterior_log_variance_clipped: the value at the second step stands in for log 0 at the first.
    k = np.maximum(k, 2)
    return np.log(BETAS[k - 1] * (1 - ABAR[k - 1]) / (1 - ABAR[k]))


def fixed_large(k):
    # OpenAI's np.log(np.append(posterior_variance[1], betas[1:])).
    return np.where(k == 1, fixed_small(np.array(2)), np.log(BETAS[k - 1]))


@pytest.mark.parametrize(('ours', 'official'), [(reverse.small, fixed_small), (reverse.large, fixed_large)])
def test_fixed_variances_are_the_released_ones(ours, official, x64):
    got = ours(TABLE, jnp.asarray(K / 1000), jnp.asarray((K - 1) / 1000))
    np.testing.assert_allclose(got, official(K), rtol=1e-7)


@pytest.mark.parametrize(('ours', 'official'), [(reverse.small, fixed_small), (reverse.large, fixed_large)])
def test_fixed_variances_hold_in_float32(ours, official):
    k = np.arange(1, 1001)
    got = jax.jit(lambda t, s: ours(TABLE, t, s))(jnp.asarray(k / 1000), jnp.asarray((k - 1) / 1000))
    # 1 - abar loses digits in beta = 1 - abar_t / abar_s, at most 2e-7 / beta of it.
    np.testing.assert_allclose(got, official(k), atol=5e-4)


def test_learned_variance_interpolates_between_small_and_large(x64):
    x, t, s = jnp.zeros((5, 2)), jnp.asarray(K / 1000), jnp.asarray((K - 1) / 1000)
    for logit, want in (
        (-1.0, fixed_small(K)),
        (1.0, np.log(BETAS[K - 1])),
        (0.0, (fixed_small(K) + np.log(BETAS[K - 1])) / 2),
    ):
        p = reverse.learned(lambda x, t, logit=logit: (x, jnp.full_like(x, logit)), TABLE)
        log_variance = p(x, t, s)[1]
        assert log_variance.shape == x.shape
        np.testing.assert_allclose(log_variance, want[:, None] * np.ones((5, 2)), rtol=1e-7)


def test_mean_is_the_posterior_at_the_prediction(x64):
    x, x_0 = np.array([[0.5, -1.0]] * 2), np.array([[0.2, 1.0], [-0.3, 0.1]])
    t, s = jnp.array([0.5, 0.9]), jnp.array([0.25, 0.1])
    a, sd = oracles.table(BETAS)
    want = [
        oracles.bayes_posterior(x[i], x_0[i], (a[k], sd[k]), (a[j], sd[j]))[0]
        for i, (k, j) in enumerate([(500, 250), (900, 100)])
    ]
    fixed = reverse.fixed(lambda x, t: jnp.asarray(x_0), TABLE)
    learned = reverse.learned(lambda x, t: (jnp.asarray(x_0), x), TABLE)
    for p in (fixed, learned):
        np.testing.assert_allclose(p(jnp.asarray(x), t, s)[0], want, rtol=1e-9)


def test_mean_of_the_last_step_is_the_prediction():
    p = reverse.fixed(lambda x, t: jnp.full_like(x, 0.25), TABLE)
    for t in (0.001, 0.5, 1.0):
        mean, _ = p(jnp.ones((1, 2)), jnp.array([t]), jnp.zeros(1))
        np.testing.assert_allclose(mean, 0.25, rtol=1e-6)
