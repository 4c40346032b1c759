"""Dequantisation against a quantised mixture, whose probabilities and bits/dim are sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, logistic, truncnorm

from diffusion_jax import likelihood
from tests import oracles

LEVELS = 16
DATA = oracles.Mixture(np.array([0.4, 0.6]), np.array([[-0.5], [0.4]]), np.array([0.02, 0.01]))
X, WIDTH = np.linspace(-1, 1, LEVELS), 2 / (LEVELS - 1)
KEY = jax.random.key(0)


def log_p(key, y):
    del key
    log_r = np.log(DATA.weights)[None] + jax.scipy.stats.norm.logpdf(y, DATA.means.T, np.sqrt(DATA.vars)[None])
    return jax.nn.logsumexp(log_r, 1)


def rows(n):
    """Quantised data, their values and the exact bits of each."""
    mass = DATA.cdf(X + WIDTH / 2) - DATA.cdf(X - WIDTH / 2)
    index = np.random.default_rng(0).choice(LEVELS, n, p=mass / mass.sum())
    return X[index][:, None], index, -np.log2(mass)


def test_uniform_bound_lies_above_the_exact_bits_by_its_divergence(x64):
    """Above by KL(uniform || p(y | bin)), by quadrature."""
    bits = jax.jit(likelihood.dequantised(likelihood.uniform(LEVELS), log_p))
    x = np.repeat(X[4:12], 4000)[:, None]
    got = np.asarray(bits(KEY, jnp.asarray(x))).reshape(8, 4000)
    exact = -np.log2(DATA.cdf(X + WIDTH / 2) - DATA.cdf(X - WIDTH / 2))[4:12]
    mean_log_p = [
        quad(lambda y: DATA.log_p(np.array([y])).item() / WIDTH, m - WIDTH / 2, m + WIDTH / 2)[0] for m in X[4:12]
    ]
    want = -np.array(mean_log_p) / np.log(2) - np.log2(WIDTH)
    assert (np.abs(got.mean(1) - want) < 4 * got.std(1) / np.sqrt(4000)).all()
    assert (want > exact).all()
    assert np.max(want - exact) > 0.1  # so that there is a gap to close


def test_variational_density_integrates_to_one_and_is_that_of_its_draws(x64):
    mean, log_scale = 0.3, -0.2
    dequantise = likelihood.variational(lambda x: (jnp.full_like(x, mean), jnp.full_like(x, log_scale)), LEVELS)
    y, log_q = dequantise(KEY, jnp.full((2000, 1), X[3]))
    u = (np.asarray(y)[:, 0] - X[3]) / WIDTH + 0.5
    assert ((u > 0) & (u < 1)).all()
    want = logistic.pdf(np.log(u / (1 - u)), mean, np.exp(log_scale)) / (u * (1 - u) * WIDTH)
    np.testing.assert_allclose(np.exp(log_q), want, rtol=1e-6)


@pytest.mark.parametrize('sigma', [0.01, 0.2])
def test_truncated_normal_is_scipys(sigma, x64):
    """Noise much smaller than the bin, and larger."""
    y, log_q = likelihood.truncated_normal(sigma, LEVELS)(KEY, jnp.full((3000, 2), X[3]))
    edge = WIDTH / 2 / sigma
    want = truncnorm(-edge, edge, X[3], sigma)
    np.testing.assert_allclose(log_q, want.logpdf(y).sum(1), rtol=1e-9)
    assert kstest(np.asarray(y)[:, 0], want.cdf).pvalue > 0.01


def test_trained_dequantiser_closes_the_gap(x64):
    """With a mean and a scale for each level: the bound is then within 0.01 bits of the exact sum."""
    x, index, exact = rows(4000)
    x = jnp.asarray(x)

    def conditional(params, x):
        i = jnp.round((x + 1) / WIDTH).astype(int)
        return params['mean'][i], params['log_scale'][i]

    loss = likelihood.elbo(conditional, log_p, LEVELS)
    params = {'mean': jnp.zeros(LEVELS), 'log_scale': jnp.zeros(LEVELS)}
    tx = optax.adam(0.05)

    @jax.jit
    def train(params):
        def step(carry, key):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params, key, x), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(KEY, 150))[0][0]

    key = jax.random.key(9)
    trained = float(loss(train(params), key, x))
    uniform = float(likelihood.dequantised(likelihood.uniform(LEVELS), log_p)(key, x).mean())
    want = exact[index].mean()
    assert uniform > want + 0.05
    assert abs(trained - want) < 0.005, (trained, want, uniform)


def test_bits_of_many_dimensions_are_a_mean(x64):
    """A density of 1/2 on [-1, 1] in 6 dimensions gives log2(256 - 1) bits for every dimension of 256 levels."""
    bits = likelihood.dequantised(likelihood.uniform(256), lambda key, y: jnp.full(y.shape[:1], -6 * np.log(2)))
    np.testing.assert_allclose(bits(KEY, jnp.zeros((3, 3, 2))), np.log2(255), rtol=1e-12)


def test_one_level_is_refused():
    with pytest.raises(ValueError, match='levels must be at least 2; got 1'):
        likelihood.uniform(1)
    with pytest.raises(ValueError, match='sigma must be above 0; got 0'):
        likelihood.truncated_normal(0.0)
