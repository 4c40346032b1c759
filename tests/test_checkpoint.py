"""Checkpoints: bit for bit, on other devices, and what a damaged one costs."""

import contextlib
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax import checkpoint, sharding
from diffusion_jax.errors import UserError
from diffusion_jax.state import TrainState
from diffusion_jax.types import Frozen

TX = optax.adam(1e-3)


def state_at(step, devices=8, width=4):
    rng = np.random.default_rng(step)

    def draw():
        return {'w': rng.standard_normal((width, 3)).astype(np.float32), 'b': np.float32(rng.standard_normal())}

    params, moments = draw(), draw()
    opt_state = TX.init(jax.tree.map(jnp.asarray, params))
    opt_state = (opt_state[0]._replace(mu=moments, count=jnp.int32(step)), *opt_state[1:])
    state = TrainState(jnp.int32(step), params, draw(), opt_state, Frozen(teacher=draw()))
    return jax.device_put(state, sharding.replicated(sharding.make_mesh(devices)))


def abstract(state):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state)


def opened(folder, keep=2):
    return contextlib.closing(checkpoint.open_manager(folder, keep))


def save_all(folder, steps, **options):
    with opened(folder, **options) as manager:
        for step in steps:
            checkpoint.save(manager, state_at(step))
        checkpoint.wait(manager)


def damage(folder, step, item=''):
    """Cuts every file of a step to half its length."""
    files = [f for f in (folder / 'checkpoints' / str(step) / item).rglob('*') if f.is_file() and f.stat().st_size]
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y, strict=True), jax.device_get(a), jax.device_get(b))
    assert jax.tree.structure(a) == jax.tree.structure(b)


@pytest.mark.parametrize('devices', [1, 8])
def test_round_trip(tmp_path, devices):
    save_all(tmp_path, [10])
    wanted = state_at(10, devices)
    with opened(tmp_path) as manager:
        restored = checkpoint.restore(manager, abstract(wanted))
    assert_same(restored, wanted)
    assert restored is not None
    assert len(restored.params['w'].sharding.device_set) == devices


def test_a_state_may_be_donated_once_save_returns(tmp_path):
    overwrite = jax.jit(lambda s: jax.tree.map(lambda a: a + 1, s), donate_argnums=0)
    with opened(tmp_path) as manager:
        state = state_at(10)
        checkpoint.save(manager, state)
        for _ in range(50):
            state = overwrite(state)
        checkpoint.wait(manager)
        assert_same(checkpoint.restore(manager, abstract(state)), state_at(10))


def test_the_newest_few_are_kept(tmp_path):
    save_all(tmp_path, [10, 20, 30, 40], keep=2)
    assert sorted(int(p.name) for p in (tmp_path / 'checkpoints').iterdir()) == [30, 40]


def test_nothing_saved_yet(tmp_path):
    with opened(tmp_path) as manager:
        assert checkpoint.restore(manager, abstract(state_at(0))) is None


def test_a_step_saved_before_is_left_alone_and_an_older_one_refused(tmp_path):
    save_all(tmp_path, [10, 20])
    with opened(tmp_path) as manager:
        checkpoint.save(manager, state_at(30)._replace(step=jnp.int32(20)))
        with pytest.raises(UserError, match='step 15 was not saved: a later one, 20, exists'):
            checkpoint.save(manager, state_at(15))
        assert_same(checkpoint.restore(manager, abstract(state_at(20))), state_at(20))


@pytest.mark.parametrize('item', ['', 'train', 'ema'])
def test_a_damaged_newest_one_costs_only_itself(tmp_path, item, caplog):
    save_all(tmp_path, [10, 20])
    damage(tmp_path, 20, item)
    with opened(tmp_path) as manager, caplog.at_level(logging.WARNING):
        assert_same(checkpoint.restore(manager, abstract(state_at(10))), state_at(10))
        assert any('checkpoint 20 is unreadable' in message for message in caplog.messages)
        checkpoint.save(manager, state_at(20))
        checkpoint.wait(manager)
    with opened(tmp_path) as manager:
        assert_same(checkpoint.restore(manager, abstract(state_at(20))), state_at(20))
    assert (tmp_path / 'checkpoints' / 'unreadable_20').is_dir()
    damage(tmp_path, 20, item)
    with opened(tmp_path) as manager:
        assert_same(checkpoint.restore(manager, abstract(state_at(10))), state_at(10))


def test_all_damaged(tmp_path):
    save_all(tmp_path, [10, 20])
    damage(tmp_path, 10)
    damage(tmp_path, 20)
    with (
        opened(tmp_path) as manager,
        pytest.raises(UserError, match=r'none of the checkpoints \[20, 10\].*can be read'),
    ):
        checkpoint.restore(manager, abstract(state_at(10)))
    assert sorted(p.name for p in (tmp_path / 'checkpoints').iterdir()) == ['10', '20']


def test_another_models_shapes_are_refused_and_stay(tmp_path):
    save_all(tmp_path, [10, 20])
    with opened(tmp_path) as manager, pytest.raises(UserError, match="or they are another model's"):
        checkpoint.restore(manager, abstract(state_at(10, width=5)))
    assert sorted(p.name for p in (tmp_path / 'checkpoints').iterdir()) == ['10', '20']


def test_the_ema_alone(tmp_path):
    save_all(tmp_path, [10, 20])
    params, step = checkpoint.restore_ema(tmp_path, abstract(state_at(0).ema))
    assert step == 20
    assert_same(params, state_at(20).ema)
    damage(tmp_path, 20)
    params, step = checkpoint.restore_ema(tmp_path, abstract(state_at(0, devices=1).ema))
    assert step == 10
    assert_same(params, state_at(10).ema)
    assert (tmp_path / 'checkpoints' / '20').is_dir()  # whoever only reads moves nothing


def test_reading_leaves_a_save_in_flight_alone(tmp_path):
    save_all(tmp_path, [10])
    unfinished = tmp_path / 'checkpoints' / '20.orbax-checkpoint-tmp'
    unfinished.mkdir()
    (unfinished / 'data').write_text('half')
    _, step = checkpoint.restore_ema(tmp_path, abstract(state_at(0).ema))
    assert step == 10
    assert (unfinished / 'data').exists()


def test_no_checkpoint(tmp_path):
    for _ in range(2):
        with pytest.raises(UserError, match=r'holds no checkpoint.*: train first, or check the path'):
            checkpoint.restore_ema(tmp_path, abstract(state_at(0).ema))
        (tmp_path / 'checkpoints').mkdir(exist_ok=True)
