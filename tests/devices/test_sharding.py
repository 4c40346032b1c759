"""One device or eight: the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax import nets, precond, schedules, times
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.objectives import denoising, weights
from diffusion_jax.optim import ema as emas
from diffusion_jax.optim.targets import moving_target
from diffusion_jax.training.state import init_state
from diffusion_jax.training.step import make_train_step
from diffusion_jax.types import Batch, SecondLearner


@jax.enable_x64(True)
def losses(mesh, steps=5, parts=1, updates=0):
    """Metrics and final state of a run in float64 of a network whose kernels are split where they can be."""
    schedule = schedules.DiscreteVP(schedules.linear_betas(100))
    init, net = nets.functional(nets.MLP(width=16, depth=1))
    model = precond.denoiser(precond.eps(schedule, 100), net)
    loss = denoising(model, schedule, times.discrete_uniform(100), weights.snr(schedule)).loss
    tx = optax.adam(0.01)
    double = lambda key: jax.tree.map(jnp.float64, init(key, jnp.zeros((1, 2)), jnp.zeros(1)))  # noqa: E731
    second = SecondLearner('other', lambda key, teacher: double(key), loss, updates, tx) if updates else None
    create = init_state(double, tx, moving_target(lambda k: 0.5), second=second)
    shardings = sharding.of_state(mesh, jax.eval_shape(create, jax.random.key(0)), least_size=16)
    state = jax.jit(create, out_shardings=shardings)(jax.random.key(0))
    train_step = make_train_step(loss, tx, emas.constant(0.9), moving_target(lambda k: 0.5), parts, second=second)
    step = jax.jit(train_step, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))
    rng, found = np.random.default_rng(0), []
    for _ in range(steps):
        batch = sharding.put_batch(mesh, Batch(rng.uniform(-1, 1, (16, 2))))
        assert len(batch.x.sharding.device_set) == mesh.size
        state, metrics = step(state, jax.random.key(1), batch)
        found.append(jax.device_get(metrics))
    assert step._cache_size() == 1
    jax.tree.map(lambda a, s: a.sharding.is_equivalent_to(s, a.ndim) or pytest.fail(f'{a.sharding}'), state, shardings)
    return found, state


@pytest.fixture(scope='module')
def on_one_device():
    return losses(sharding.make_mesh(1))


@pytest.mark.parametrize(('data', 'fsdp'), [(8, 1), (4, 2), (1, 8)])
def test_any_mesh_gives_the_numbers_of_one_device(data, fsdp, on_one_device):
    (one, state_1), (many, state_n) = on_one_device, losses(sharding.make_mesh(data, fsdp))
    assert len({float(m['loss']) for m in one}) == 5
    # Only the order of summation over the batch differs.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), one, many)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), *jax.device_get((state_1, state_n)))


@pytest.mark.slow
def test_a_second_learner_is_split_as_the_model_is():
    (one, state_1), (many, state_n) = (losses(sharding.make_mesh(1, n), 2, 2, updates=2) for n in (1, 8))
    assert one[0]['other_loss'] != one[0]['loss']
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), one, many)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), *jax.device_get((state_1, state_n)))
    assert bytes_on_a_device(state_n.second) < 1.3 * bytes_on_a_device(state_1.second) / 8


def bytes_on_a_device(state):
    device = jax.devices()[0]
    shards = [s for a in jax.tree.leaves(state) for s in a.addressable_shards if s.device == device]
    return sum(s.data.nbytes for s in shards)


def test_state_takes_less_room_by_the_factor_of_fsdp(on_one_device):
    """All of it: parameters, average, target, both moments of Adam. What stays whole is small."""
    whole = bytes_on_a_device(on_one_device[1])
    for fsdp in (2, 8):
        assert whole / fsdp < bytes_on_a_device(losses(sharding.make_mesh(1, fsdp), steps=1)[1]) < 1.3 * whole / fsdp


@pytest.mark.parametrize(
    ('shape', 'split'), [((3, 3, 64, 128), 3), ((3, 3, 128, 64), 2), ((512, 30), 0), ((64,), None), ((1023, 33), None)]
)
def test_the_longest_axis_that_divides_is_split_and_small_arrays_are_not(shape, split):
    found = sharding.of_state(sharding.make_mesh(2, 4), jax.ShapeDtypeStruct(shape, jnp.float32), least_size=1000)
    axes = [i for i, name in enumerate(found.spec) if name == 'fsdp']
    assert axes == ([] if split is None else [split])
    assert all(name in (None, 'fsdp') for name in found.spec)


def test_mesh_takes_the_first_devices_or_all():
    assert sharding.make_mesh().shape == {'data': 8, 'fsdp': 1}
    assert sharding.make_mesh(-1, 4).shape == {'data': 2, 'fsdp': 4}
    assert list(sharding.make_mesh(2).devices.ravel()) == jax.devices()[:2]


@pytest.mark.parametrize('n', [0, 9, -2])
def test_a_mesh_of_devices_that_are_not_there(n):
    for data, fsdp in ((n, 1), (1, n) if n != -2 else (3, 3)):
        with pytest.raises(UserError, match=f'mesh.data={data}, mesh.fsdp={fsdp}, but there are 8 devices'):
            sharding.make_mesh(data, fsdp)


def test_a_mesh_that_does_not_lie_on_the_chips(monkeypatch):
    def torus(*_, **__):
        raise NotImplementedError('Failed to find assignment')

    monkeypatch.setattr(jax, 'make_mesh', torus)
    with pytest.raises(UserError, match=r'^mesh.data=4, mesh.fsdp=2 does not lie on these chips: Failed to find assig'):
        sharding.make_mesh(-1, 2)


@pytest.mark.parametrize(('size', 'near'), [(12, '8 or 16'), (3, '8'), (17, '16 or 24')])
def test_a_batch_that_does_not_divide(size, near):
    message = f'^train.batch_size={size} does not divide over 8 devices: use {near}, or set mesh.data$'
    with pytest.raises(UserError, match=message):
        sharding.check_batch(sharding.make_mesh(), size, 'train.batch_size')
    sharding.check_batch(sharding.make_mesh(1), size, 'train.batch_size')


def test_every_device_has_rows_for_every_part():
    with pytest.raises(
        UserError, match=r'^batch=24 does not divide over 8 devices in 2 parts: use 16 or 32, or set mesh.d'
    ):
        sharding.check_batch(sharding.make_mesh(4, 2), 24, 'batch', parts=2)
    sharding.check_batch(sharding.make_mesh(4, 2), 32, 'batch', parts=2)
