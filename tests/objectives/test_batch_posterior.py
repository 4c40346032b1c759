"""What a batch says of x_0: closed forms, the law of total expectation, and what that does to the noise of targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, schedules, times
from diffusion_jax.objectives import distances, pair_weights, velocities
from diffusion_jax.objectives.batch_posterior import batch_denoiser
from diffusion_jax.types import Batch, Frozen, Masked
from tests.objectives.test_mean_flow import KEY, STEP, at, data
from tests.oracles import GAUSSIAN, Mixture

SCHEDULES = {'VE': schedules.VE(), 'flow': schedules.RectifiedFlow(), 'cosine': schedules.CosineVP()}


@pytest.mark.parametrize('name', SCHEDULES)
def test_it_is_the_posterior_mean_of_points_of_equal_weight(name, x64):
    schedule = SCHEDULES[name]
    x = jax.random.normal(jax.random.key(3), (5, 2, 3)) + 4.0
    t = jnp.array([0.01, 0.3, 0.5, 0.8, 0.99])
    alpha, sigma = (np.asarray(f(t)) for f in (schedule.alpha, schedule.sigma))
    x_t = alpha[:, None, None] * x + sigma[:, None, None] * jax.random.normal(jax.random.key(4), x.shape)
    points = Mixture(np.full(5, 0.2), np.asarray(x).reshape(5, 6), np.zeros(5))
    got = batch_denoiser(Batch(x), schedule)(x_t, t)
    for i in range(5):
        want = points.denoise(np.asarray(x_t[i]).reshape(6), alpha[i], sigma[i])
        np.testing.assert_allclose(got[i].reshape(6), want, rtol=1e-9)


def test_it_is_right_on_average_for_any_batch_and_half_as_noisy_at_least(x64):
    """E[D_batch | x_t] = E[x_0 | x_t]: the regression on x_t of both has the exact slope; its variance is smaller."""
    n, b, sigma = 40_000, 4, 0.8
    mean, std = float(GAUSSIAN.mean), float(np.sqrt(GAUSSIAN.var))
    x = mean + std * jax.random.normal(jax.random.key(0), (n, b, 1))
    x_t = x + sigma * jax.random.normal(jax.random.key(1), x.shape)
    D = jax.vmap(lambda x, x_t: batch_denoiser(Batch(x), schedules.VE())(x_t, jnp.full(b, sigma)))(x, x_t)
    exact = GAUSSIAN.denoise(np.asarray(x_t[:, 0, 0]), 1.0, sigma)
    one, by_batch = (np.asarray(v[:, 0, 0]) - exact for v in (x, D))
    assert by_batch.var() < 0.5 * one.var()
    # Not only the mean: the error is uncorrelated with whatever function of x_t.
    for f in (np.ones_like, np.tanh, np.square, lambda u: np.abs(u) > 1):
        moments = by_batch * f(np.asarray(x_t[:, 0, 0]))
        assert abs(moments.mean()) < 4 * moments.std() / np.sqrt(n)


def test_at_little_noise_it_is_the_sample_itself():
    """In float32, and far from the origin, where squares of distances cancel."""
    x = jax.random.normal(jax.random.key(0), (16, 8, 8, 1)) + 3.0
    for sigma in (0.002, 0.02):
        t = jnp.full(16, sigma)
        x_t = x + sigma * jax.random.normal(jax.random.key(1), x.shape)
        np.testing.assert_allclose(batch_denoiser(Batch(x), schedules.VE())(x_t, t), x, rtol=1e-6)


@pytest.mark.parametrize('kind', ['class', 'sequence'])
def test_only_rows_of_the_same_condition_count(kind):
    x = jnp.array([[0.0], [1.0], [10.0], [11.0]])
    label = jnp.array([0, 0, 1, 1])
    cond = label if kind == 'class' else Masked(jnp.stack([label, label], 1), jnp.array([[True, False]] * 4))
    got = batch_denoiser(Batch(x, cond), schedules.VE())(x, jnp.full(4, 1e3))
    np.testing.assert_allclose(got, [[0.5], [0.5], [10.5], [10.5]], atol=1e-3)


def noise_of_gradients(make, t, n=200):
    """The variance over draws of the gradient of one parameter, at one time."""
    loss = make(t)

    @jax.jit
    @jax.vmap
    def gradient(key):
        key_x, key_loss = jax.random.split(key)
        x = GAUSSIAN.mean + np.sqrt(GAUSSIAN.var) * jax.random.normal(key_x, (64, 2))
        return jax.grad(lambda q: loss(q, Frozen(), key_loss, Batch(x), STEP)[0])(1.0)

    g = np.asarray(gradient(jax.random.split(jax.random.key(5), n)))
    return g.mean(), g.var()


def exact_consistency(q, cond=None, key=None):
    """For q = 1 the exact consistency function of the Gaussian on VE."""
    scale = lambda t: jnp.sqrt(GAUSSIAN.var / (GAUSSIAN.var + t**2))[:, None]  # noqa: E731
    return lambda x, t: GAUSSIAN.mean + q * scale(t) * (x - GAUSSIAN.mean)


@pytest.mark.parametrize(('t', 'factor'), [(0.1, 1.3), (1.0, 2.0), (10.0, 20.0)])
def test_consistency_training_by_the_batch_has_the_same_gradient_with_less_noise(t, factor, x64):
    ve = schedules.VE()

    def make(step):
        return lambda t: (
            objectives.consistency(
                exact_consistency, ve, at(t, 0.9 * t), distances.l2(), pair_weights.uniform(), step
            ).loss
        )

    (mean, var), (mean_batch, var_batch) = (noise_of_gradients(make(s), t) for s in (None, objectives.batch_step(ve)))
    assert var > factor * var_batch
    assert abs(mean - mean_batch) < 4 * np.sqrt((var + var_batch) / 200)


def test_a_batch_of_one_is_consistency_training_and_mean_flow_themselves(x64):
    one = Batch(data().x[:1])
    ve, flow = schedules.VE(), schedules.RectifiedFlow()
    ct, by_batch = (
        objectives.consistency(exact_consistency, ve, at(2.0, 1.5), distances.l2(), pair_weights.uniform(), step).loss
        for step in (None, objectives.batch_step(ve))
    )
    u = lambda q, *_: lambda x, t, s: q * x * jnp.cos(t - s)[:, None]  # noqa: E731
    mean_flow, of_batch = (
        objectives.mean_flow(u, flow, times.logit_normal_pairs(), velocity=v).loss
        for v in (None, velocities.of_the_batch(flow))
    )
    for a, b in ((ct, by_batch), (mean_flow, of_batch)):
        got, want = (jax.value_and_grad(f, has_aux=True)(0.9, Frozen(), KEY, one, STEP) for f in (a, b))
        np.testing.assert_allclose([got[0][0], got[1]], [want[0][0], want[1]], rtol=1e-10)
