from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, times
from diffusion_jax.types import Sampler

SCHEDULE = schedules.LinearVP()
GRID = times.uniform(5)


def denoise(x, t):
    return jnp.tanh(x) * (1 - 0.5 * t[:, None])


SAMPLER = samplers.ancestral(denoise, SCHEDULE)


def start(n=8):
    return samplers.prior(jax.random.key(1), SCHEDULE, (n, 3), 1.0)


def test_sample_is_a_loop_over_steps_with_a_fresh_key_each():
    x, key = start(), jax.random.key(0)
    state = SAMPLER.init(x)
    states = [state.x]
    for i in range(5):
        state = SAMPLER.step(jax.random.fold_in(key, i), state, *jnp.asarray(GRID[i : i + 2], jnp.float32))
        states.append(state.x)
    np.testing.assert_allclose(samplers.sample(SAMPLER, key, x, GRID), state.x, rtol=1e-5, atol=1e-6)
    kept = samplers.trajectory(SAMPLER, key, x, GRID)
    np.testing.assert_allclose(kept, jnp.stack(states), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(kept[0], x)


def test_a_key_per_sample_makes_a_sample_independent_of_its_batch():
    keys = jax.random.split(jax.random.key(0), 8)
    x = samplers.prior(keys, SCHEDULE, (8, 3), 1.0)
    run = jax.jit(lambda k, x: samplers.sample(SAMPLER, k, x, GRID))
    whole = run(keys, x)
    for part in (slice(0, 3), slice(7, 8)):
        np.testing.assert_allclose(samplers.prior(keys[part], SCHEDULE, x[part].shape, 1.0), x[part], rtol=1e-6)
        np.testing.assert_allclose(run(keys[part], x[part]), whole[part], rtol=1e-5, atol=1e-6)
    assert len(np.unique(np.asarray(whole)[:, 0])) == 8


def test_vmap_over_keys_is_a_loop_over_keys():
    keys, x = jax.random.split(jax.random.key(0)), start()

    def run(key):
        return samplers.sample(SAMPLER, key, x, GRID)

    np.testing.assert_allclose(jax.jit(jax.vmap(run))(keys)[1], run(keys[1]), rtol=1e-5, atol=1e-6)


def test_gradients_flow_through_the_loop():
    grad = jax.jit(jax.grad(lambda x: jnp.sum(samplers.sample(SAMPLER, jax.random.key(0), x, GRID))))(start())
    assert jnp.isfinite(grad).all()
    assert (grad != 0).any()


def test_prior_is_scaled_noise():
    x = samplers.prior(jax.random.key(0), schedules.VE(), (20_000, 2), 80.0)
    np.testing.assert_allclose(x.std(), 80, rtol=0.02)
    assert abs(x.mean()) < 4 * 80 / 200
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.03


def test_noise_with_one_key_and_with_many():
    x = jnp.zeros((2, 3))
    keys = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(samplers.noise(keys[0], x), jax.random.normal(keys[0], (2, 3)))
    many = samplers.noise(keys, x)
    np.testing.assert_array_equal(many[1], jax.random.normal(keys[1], (3,)))
    folded = samplers.fold_in(keys, 7)
    np.testing.assert_array_equal(jax.random.key_data(folded[1]), jax.random.key_data(jax.random.fold_in(keys[1], 7)))


@pytest.mark.parametrize('sampler', [SAMPLER, samplers.ddim(denoise, SCHEDULE)])
def test_bfloat16_samples_stay_near_float32(sampler):
    x = start()
    full = samplers.sample(sampler, jax.random.key(0), x, GRID)
    network = samplers.sample(
        samplers.ddim(lambda x, t: denoise(x.astype(jnp.bfloat16), t).astype(jnp.float32), SCHEDULE),
        jax.random.key(0), x, GRID,
    )  # fmt: skip
    assert network.dtype == jnp.float32
    assert jnp.isfinite(full).all()
    assert jnp.isfinite(network).all()


class Summed(NamedTuple):
    """What the steps add up to."""

    x: jax.Array
    total: jax.Array


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.int32, jnp.float32])
def test_times_do_not_take_the_type_of_the_samples(dtype):
    """A sampler that adds up the squares of its steps, 1000 of 1/1000 each; x keeps its type."""

    def step(key, state, t, s):
        assert t.dtype == s.dtype == jnp.float32
        total = state.total + (t - s) ** 2
        return Summed(jnp.full(state.x.shape, 1e5 * total), total)

    x = samplers.sample(
        Sampler(lambda x: Summed(x, jnp.zeros(())), step),
        jax.random.key(0),
        jnp.zeros((2, 3), dtype),
        times.linspace(1000),
    )
    assert x.dtype == dtype
    np.testing.assert_allclose(np.asarray(x, np.float32), 100, rtol=0.01)


@pytest.mark.parametrize('make', [samplers.ddim, samplers.heun, samplers.unipc, samplers.deis, samplers.dpm_solver])
def test_samples_in_bfloat16_stay_so_and_near(make):
    x = start()
    fine = samplers.sample(make(denoise, SCHEDULE), jax.random.key(0), x, times.uniform(20))
    coarse = samplers.sample(make(denoise, SCHEDULE), jax.random.key(0), x.astype(jnp.bfloat16), times.uniform(20))
    assert coarse.dtype == jnp.bfloat16
    np.testing.assert_allclose(coarse.astype(jnp.float32), fine, atol=0.06)
