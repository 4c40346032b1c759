import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import likelihood, objectives, reverse, schedules
from diffusion_jax.objectives import weights
from diffusion_jax.objectives.vlb import previous
from diffusion_jax.types import Batch, Frozen
from tests.oracles import GAUSSIAN as DATA

T = 20
TABLE = schedules.DiscreteVP(schedules.linear_betas(T, 0.005, 0.5))
N = 4000


def model(params, cond, key):
    return lambda x, t: params['mean'] * DATA.denoise(x, TABLE.alpha(t)[:, None], TABLE.sigma(t)[:, None])


def model_with_variance(params, cond, key):
    return lambda x, t: (model(params, cond, key)(x, t), jnp.full_like(x, params['logit']))


def data():
    x = DATA.mean + np.sqrt(DATA.var) * np.random.default_rng(0).normal(size=(N, 2))
    return jnp.asarray(np.clip(x, -1, 1), jnp.float32)


PARAMS = {'mean': jnp.float32(0.9), 'logit': jnp.float32(0.3)}
LOSSES = {
    'small': (objectives.vlb(model, TABLE, T).loss, lambda p: reverse.fixed(model(p, None, None), TABLE)),
    'large': (
        objectives.vlb(model, TABLE, T, log_variance=reverse.large).loss,
        lambda p: reverse.fixed(model(p, None, None), TABLE, reverse.large),
    ),
    'learned': (
        objectives.vlb_learned(model_with_variance, TABLE, T).loss,
        lambda p: reverse.learned(model_with_variance(p, None, None), TABLE),
    ),
}


@pytest.mark.parametrize('name', LOSSES)
def test_loss_is_the_bound_without_its_prior(name):
    loss, make_reverse = LOSSES[name]
    x = data()
    loss = jax.jit(loss)
    values = np.array([loss(PARAMS, Frozen(), jax.random.key(i), Batch(x), jnp.array(0))[0] for i in range(10)])
    bound = jax.jit(lambda key, x: likelihood.vlb(make_reverse(PARAMS), TABLE, T)(key, x))(jax.random.key(99), x)
    want = np.mean(np.asarray(bound.total - bound.prior))
    error = np.hypot(values.std() / np.sqrt(10), np.std(np.asarray(bound.total)) / np.sqrt(N))
    assert abs(values.mean() - want) < 5 * error


def test_hybrid_is_simple_plus_a_thousandth_of_the_bound():
    args = PARAMS, Frozen(), jax.random.key(0), Batch(data()), jnp.array(0)
    value, metrics = jax.jit(objectives.hybrid(model_with_variance, TABLE, weights.snr(TABLE), T).loss)(*args)
    np.testing.assert_allclose(value, metrics['simple'] + 0.001 * metrics['vlb'], rtol=1e-6)
    np.testing.assert_allclose(
        metrics['vlb'], jax.jit(objectives.vlb_learned(model_with_variance, TABLE, T).loss)(*args)[0], rtol=1e-5
    )


@pytest.mark.slow
def test_hybrids_mean_learns_from_the_simple_loss_alone():
    args = PARAMS, Frozen(), jax.random.key(0), Batch(data()), jnp.array(0)

    def gradient(vlb_weight):
        loss = objectives.hybrid(model_with_variance, TABLE, weights.snr(TABLE), T, vlb_weight=vlb_weight).loss
        return jax.jit(jax.grad(loss, has_aux=True))(*args)[0]

    with_bound, without = gradient(1.0), gradient(0.0)
    np.testing.assert_allclose(with_bound['mean'], without['mean'], rtol=1e-6)
    assert without['logit'] == 0
    assert abs(with_bound['logit']) > 1e-4
    bound = jax.jit(jax.grad(objectives.vlb_learned(model_with_variance, TABLE, T).loss, has_aux=True))(*args)[0]
    np.testing.assert_allclose(with_bound['logit'], bound['logit'], rtol=1e-5)


@pytest.mark.parametrize('T', [20, 1000, 4000])
def test_previous_is_the_point_of_the_table_before(T):
    k = np.arange(1, T + 1)
    got = previous(jnp.asarray(k / T, jnp.float32), T)
    np.testing.assert_allclose(got, (k - 1) / T, rtol=1e-6)
    assert got[0] == 0
