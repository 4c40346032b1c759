"""The contracts of every loss are in tests/test_contracts.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, schedules, times
from diffusion_jax.axes import mean_square
from diffusion_jax.objectives import adaptive, weights
from diffusion_jax.types import Batch, Frozen
from tests.oracles import GAUSSIAN as DATA

TABLE = schedules.DiscreteVP(schedules.linear_betas())


def test_simple_loss_of_a_network_that_says_nothing_is_the_noise_variance():
    """E ||eps - 0||^2 = 1 whatever the data; and the wrong scale anywhere shows."""
    model = precond.denoiser(precond.eps(TABLE), lambda params, x, c_noise, cond, key: jnp.zeros_like(x))
    loss = objectives.denoising(model, TABLE, times.discrete_uniform(), weights.snr(TABLE)).loss
    x = jnp.full((20_000, 2), 0.7)
    value, _ = jax.jit(loss)({}, Frozen(), jax.random.key(0), Batch(x), jnp.array(0))
    assert abs(value - 1) < 4 * np.sqrt(2 / 40_000)


@pytest.mark.parametrize('weighting', ['snr', 'uniform'])
def test_exact_denoiser_reaches_the_exact_minimum(weighting):
    """The least loss is E_t w(t) Var[x_0 | x_t]; any other denoiser is above it."""
    weight = weights.uniform() if weighting == 'uniform' else weights.snr(TABLE)

    def model(params, cond, key):
        return lambda x, t: params * DATA.denoise(x, TABLE.alpha(t)[:, None], TABLE.sigma(t)[:, None])

    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    variance = 1 / (1 / DATA.var + abar / (1 - abar))
    want = np.mean(variance if weighting == 'uniform' else abar / (1 - abar) * variance)
    n = 50_000
    x = DATA.mean + np.sqrt(DATA.var) * jax.random.normal(jax.random.key(1), (n, 2))
    loss = jax.jit(objectives.denoising(model, TABLE, times.discrete_uniform(), weight).loss)
    args = Frozen(), jax.random.key(0), Batch(x.astype(jnp.float32)), jnp.array(0)
    value = loss(jnp.float32(1.0), *args)[0]
    np.testing.assert_allclose(value, want, rtol=0.02)
    assert loss(jnp.float32(1.1), *args)[0] > value
    assert loss(jnp.float32(0.9), *args)[0] > value


def test_time_noise_and_dropout_have_their_own_keys():
    seen = {}

    def model(params, cond, key):
        seen['key'] = key

        def denoise(x, t):
            seen.update(x=x, t=t)
            return x

        return denoise

    schedule = schedules.RectifiedFlow()
    for p_t in (times.continuous_uniform(0.0), lambda key, shape: jax.random.normal(key, shape) + 2):
        loss = objectives.denoising(model, schedule, p_t, weights.uniform()).loss
        loss({}, Frozen(), jax.random.key(0), Batch(jnp.zeros((2000, 1))), jnp.array(0))
        t, eps = np.asarray(seen['t']), np.asarray(seen['x'] / seen['t'][:, None])[:, 0]
        assert abs(np.corrcoef(t, eps)[0, 1]) < 0.1  # a shared key would make it 1
        for shape in (t.shape, (*t.shape, 1)):
            dropout = np.asarray(jax.random.normal(seen['key'], shape)).ravel()
            assert abs(np.corrcoef(dropout, eps)[0, 1]) < 0.1
            assert abs(np.corrcoef(dropout, t)[0, 1]) < 0.1


def test_mean_square_is_per_sample():
    x = jnp.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_allclose(mean_square(x), [np.mean(np.arange(6.0) ** 2), np.mean(np.arange(6.0, 12.0) ** 2)])


@pytest.mark.parametrize('schedule', [schedules.VE(), schedules.CosineVP()], ids=['VE', 'VP'])
def test_a_weight_that_learns_is_told_the_log_of_the_noise_level(schedule):
    """Of the loss e^phi error - phi: its least is at phi = -log error, where it is 1 + log error."""
    model = lambda params, cond, key: lambda x, t: jnp.zeros_like(x)  # noqa: E731
    x, seen = jnp.full((64, 3), 0.5), []
    p_t = times.continuous_uniform(0.2, 0.8)

    def apply(params, c_noise):
        seen.append(c_noise)
        return params + 0 * c_noise

    learns = adaptive.AdaptiveWeight(lambda key: jnp.zeros(()), apply)
    objective = objectives.denoising(model, schedule, p_t, weights.uniform(), learns)
    args = Frozen(), jax.random.key(0), Batch(x), jnp.array(0)
    assert objective.init(jax.random.key(0)).keys() == {'log_weight'}
    value, metrics = objective.loss({'log_weight': -jnp.log(0.25)}, *args)
    np.testing.assert_allclose(value, 1 + np.log(0.25), rtol=1e-5)
    np.testing.assert_allclose(metrics['error'], 0.25, rtol=1e-6)
    assert abs(jax.grad(lambda phi: objective.loss({'log_weight': phi}, *args)[0])(-jnp.log(0.25))) < 1e-6
    t = p_t(jax.random.split(jax.random.key(0), 3)[0], (64,))
    np.testing.assert_allclose(seen[0], np.log(schedule.sigma(t) / schedule.alpha(t)), rtol=1e-5, atol=1e-5)
