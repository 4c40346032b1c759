"""The classifier's loss where the posterior is known. The contracts of every loss are in tests/test_contracts.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, schedules, times
from diffusion_jax.data import mixture
from diffusion_jax.types import Batch, Frozen

FLOW = schedules.RectifiedFlow()
DATA = mixture.GaussianMixture(jnp.array([0.3, 0.7]), jnp.array([[-1.0], [0.8]]), jnp.array([[0.2], [0.4]]))
LEVELS = np.array([0.3, 0.8])
N = 40_000


def p_t(key, shape):
    """Two times, half of the samples each."""
    return jnp.where(jax.random.bernoulli(key, 0.5, shape), *jnp.asarray(LEVELS, jnp.float32))


def model(params, cond, key):
    """The exact posterior, but for a factor of the logits and a shift of the first."""
    assert cond is None
    exact = mixture.classifier(DATA, FLOW)

    def classify(x, t):
        return jax.nn.log_softmax(params['factor'] * exact(x, t) + params['shift'] * jnp.array([[1.0, 0.0]]))

    return classify


LOSS = jax.jit(jax.value_and_grad(objectives.noisy_classification(model, FLOW, p_t).loss, has_aux=True))
EXACT = {'factor': jnp.array(1.0), 'shift': jnp.array(0.0)}


def measured(params):
    """Loss, metrics and gradient on many samples, the same for all parameters."""
    x, y = mixture.sample_labelled(DATA, jax.random.key(1), N)
    return LOSS(params, Frozen(), jax.random.key(0), Batch(x, y), jnp.array(0))


def by_quadrature():
    """H(y | x_t) and the accuracy of the more likely class, over both times: by sums over a fine line."""
    x, found = np.linspace(-12, 12, 20_001), []
    for t in LEVELS:
        joint = []
        for w, m, s in zip(*(np.asarray(a, np.float64).ravel() for a in DATA), strict=True):
            var = ((1 - t) * s) ** 2 + t**2
            joint.append(w * np.exp(-((x - (1 - t) * m) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var))
        joint = np.maximum(np.stack(joint), 1e-300)
        dx = x[1] - x[0]
        found.append([-np.sum(joint * np.log(joint / joint.sum(0))) * dx, np.sum(joint.max(0)) * dx])
    return np.mean(found, 0)


def test_the_exact_posterior_has_the_conditional_entropy_and_no_gradient():
    (loss, metrics), gradient = measured(EXACT)
    entropy, accuracy = by_quadrature()
    assert 0.2 < entropy < 0.5
    np.testing.assert_allclose(loss, entropy, atol=4 * 0.6 / np.sqrt(N))
    np.testing.assert_allclose(metrics['accuracy'], accuracy, atol=4 * 0.5 / np.sqrt(N))
    assert metrics['loss'] == loss
    for found in gradient.values():  # of the factor it is a mean of terms of size 1
        assert abs(found) < 4 / np.sqrt(N)


@pytest.mark.parametrize(('name', 'by'), [('factor', 0.3), ('factor', -0.3), ('shift', 0.3), ('shift', -0.3)])
def test_beside_it_the_loss_is_larger_and_its_gradient_leads_back(name, by):
    (least, _), _ = measured(EXACT)
    (loss, _), gradient = measured({**EXACT, name: EXACT[name] + by})
    assert loss > least + 1e-3
    assert np.sign(by) * gradient[name] > 0.01


def test_the_network_is_scaled_and_told_the_noise_level_as_a_denoiser_is():
    seen = {}

    def net(params, x, c_noise, cond, key):
        seen.update(x=x, c_noise=c_noise, cond=cond, key=key)
        return jnp.stack([x[:, 0], 2 * x[:, 0]], 1)

    x, t = jnp.array([[1.0], [3.0]]), jnp.array([0.5, 20.0])
    edm = precond.edm()
    log_p = precond.classifier(edm, net)({}, None, 'a key')(x, t)
    np.testing.assert_allclose(seen['x'], edm.c_in(t)[:, None] * x)
    np.testing.assert_allclose(seen['c_noise'], edm.c_noise(t))
    assert (seen['cond'], seen['key']) == (None, 'a key')
    np.testing.assert_allclose(jnp.exp(log_p).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(log_p[:, 1] - log_p[:, 0], seen['x'][:, 0], rtol=1e-5)


def test_time_noise_and_dropout_have_their_own_keys():
    seen = {}

    def watching(params, cond, key):
        def classify(x, t):
            seen.update(x=x, t=t, key=key)
            return jnp.zeros((len(x), 2))

        return classify

    y = jnp.zeros(4, jnp.int32)
    for draw in (times.continuous_uniform(0.0), lambda key, shape: jax.random.normal(key, shape) + 2):
        loss = objectives.noisy_classification(watching, FLOW, draw).loss
        loss({}, Frozen(), jax.random.key(0), Batch(jnp.zeros((4, 1)), y), jnp.array(0))
        eps = seen['x'][:, 0] / seen['t']
        assert not np.allclose(eps, jax.random.normal(seen['key'], (4, 1))[:, 0])
        assert not np.allclose(seen['t'], draw(seen['key'], (4,)))
        assert not np.allclose(eps, seen['t'] - 2)
