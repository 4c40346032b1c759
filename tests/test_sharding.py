"""One device or eight: the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax import ema as emas
from diffusion_jax import nets, precond, schedules, sharding, times, weights
from diffusion_jax.errors import UserError
from diffusion_jax.objectives import denoising
from diffusion_jax.state import init_state
from diffusion_jax.step import make_train_step
from diffusion_jax.types import Batch


def losses(devices, steps=5):
    schedule = schedules.DiscreteVP(schedules.linear_betas(100))
    init, net = nets.functional(nets.MLP(width=16, depth=1))
    model = precond.denoiser(precond.eps(schedule, 100), net)
    loss = denoising(model, schedule, times.discrete_uniform(100), weights.snr(schedule))
    mesh, tx = sharding.make_mesh(devices), optax.sgd(0.1)
    replicated = sharding.replicated(mesh)
    create = init_state(lambda key: init(key, jnp.zeros((1, 2)), jnp.zeros(1)), tx)
    state = jax.jit(create, out_shardings=replicated)(jax.random.key(0))
    step = jax.jit(make_train_step(loss, tx, emas.constant(0.9)), donate_argnums=0, out_shardings=replicated)
    rng, found = np.random.default_rng(0), []
    for _ in range(steps):
        batch = sharding.put_batch(mesh, Batch(rng.uniform(-1, 1, (16, 2)).astype(np.float32)))
        assert len(batch.x.sharding.device_set) == devices
        state, metrics = step(state, jax.random.key(1), batch)
        found.append(jax.device_get(metrics))
    assert step._cache_size() == 1
    assert state.params['dense_in']['kernel'].sharding.is_equivalent_to(replicated, 2)
    return found, jax.device_get(state.params)


def test_one_and_eight_devices_agree():
    (one, params_1), (eight, params_8) = losses(1), losses(8)
    assert len({float(m['loss']) for m in one}) == 5
    # Only the order of summation over the batch differs.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), one, eight)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params_1, params_8)


def test_mesh_takes_the_first_devices_or_all():
    assert sharding.make_mesh().shape == {'data': 8}
    assert list(sharding.make_mesh(2).devices) == jax.devices()[:2]


@pytest.mark.parametrize('n', [0, 9, -2])
def test_a_mesh_of_devices_that_are_not_there(n):
    with pytest.raises(UserError, match=f'mesh.data={n}, but there are 8 devices'):
        sharding.make_mesh(n)


@pytest.mark.parametrize(('size', 'near'), [(12, '8 or 16'), (3, '8'), (17, '16 or 24')])
def test_a_batch_that_does_not_divide(size, near):
    message = f'^train.batch_size={size} does not divide over 8 devices: use {near}, or set mesh.data$'
    with pytest.raises(UserError, match=message):
        sharding.check_batch(sharding.make_mesh(), size, 'train.batch_size')
    sharding.check_batch(sharding.make_mesh(1), size, 'train.batch_size')
