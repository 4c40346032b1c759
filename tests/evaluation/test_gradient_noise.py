"""Signal and noise of gradients whose mean and covariance are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.evaluation.gradient_noise import gradient_noise


def quadratic(mean, std, batch):
    """L = mean_b |theta - x_b|^2, x_b ~ N(mean, std^2), theta = 0: g = -2 mean(x), tr Cov g = 4 std^2 d / batch."""

    def metrics_and_grad(key, offset):
        def loss(theta):
            x = mean + std * jax.random.normal(key, (batch, len(theta)))
            value = jnp.mean(jnp.sum((theta[None] - x) ** 2, axis=1)) + offset
            return value, {'loss': value}

        grads, metrics = jax.grad(loss, has_aux=True)(jnp.zeros(3))
        return metrics, {'theta': grads}

    return metrics_and_grad


def draws(n):
    return ((key, jnp.zeros(())) for key in jax.random.split(jax.random.key(0), n))


@pytest.mark.parametrize(('mean', 'std'), [(0.5, 2.0), (100.0, 0.01), (0.0, 1.0)])
def test_both_are_those_of_a_normal_mean(mean, std):
    """Within five standard errors, also where the noise is a 1e-10th of the signal; 0.0 has no signal at all."""
    found = gradient_noise(quadratic(mean, std, 8))(draws(400))
    noise, signal = 4 * std**2 * 3 / 8, 4 * mean**2 * 3
    np.testing.assert_allclose(found.noise, noise, rtol=5 * np.sqrt(2 / (3 * 400)))
    spread = np.sqrt(2 * noise**2 / 3 + 4 * signal * noise / 3 * 400) / 400
    np.testing.assert_allclose(found.signal, signal, atol=5 * spread, rtol=1e-5)


def test_both_are_unbiased():
    """Of two batches each, many times over: the plain ||mean||^2 would be too large by half of the noise."""
    measure, keys = gradient_noise(quadratic(0.0, 1.0, 1)), jax.random.split(jax.random.key(1), (500, 2))
    found = [measure((key, jnp.zeros(())) for key in pair) for pair in keys]
    for values, exact in (([f.signal for f in found], 0), ([f.noise for f in found], 12)):
        assert abs(np.mean(values) - exact) < 4 * np.std(values) / np.sqrt(len(values)) < 2.5


def test_metrics_have_their_standard_errors():
    found = gradient_noise(quadratic(0.0, 1.0, 8))((jax.random.key(7), jnp.array(v)) for v in (1.0, 2.0, 6.0))
    base = float(quadratic(0.0, 1.0, 8)(jax.random.key(7), 0.0)[0]['loss'])
    np.testing.assert_allclose(found.metrics['loss'], base + 3, rtol=1e-6)
    np.testing.assert_allclose(found.errors['loss'], np.std([1, 2, 6], ddof=1) / np.sqrt(3), rtol=1e-5)
    assert found.noise == 0


def test_one_batch_is_too_few():
    with pytest.raises(ValueError, match='at least two batches; got 1'):
        gradient_noise(quadratic(0.0, 1.0, 8))(draws(1))
