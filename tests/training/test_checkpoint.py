"""Checkpoints: bit for bit, on other devices, and what a damaged one costs."""

import contextlib
import json
import logging
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.training import checkpoint
from diffusion_jax.training.state import Learner, TrainState
from diffusion_jax.types import Frozen
from diffusion_jax.workdir import reading

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


def opened(folder, **keep):
    return contextlib.closing(checkpoint.open_manager(folder, checkpoint.Keep(**keep)))


def save_all(folder, steps, width=4, **options):
    with opened(folder, **options) as manager:
        for step in steps:
            checkpoint.save(manager, state_at(step, width=width))
        checkpoint.wait(manager)


def kept(folder):
    return sorted(int(p.name) for p in (folder / 'checkpoints').iterdir())


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
    save_all(tmp_path, [10, 20, 30, 40], newest=2)
    assert kept(tmp_path) == [30, 40]


LOSSES = {10: 5.0, 20: 1.0, 30: 3.0, 40: float('nan'), 50: 2.0, 60: 4.0, 70: 6.0}


@pytest.fixture(scope='module')
def ranked(tmp_path_factory):
    """A run by two starts: newest 1, every 30 steps, the best 2; its metadata say from where each is."""
    folder = tmp_path_factory.mktemp('ranked')
    for steps in ([10, 20, 30, 40], [50, 60, 70]):
        with opened(folder, newest=1, every=30, best=2) as manager:
            for step in steps:
                about = {'config': {'seed': step}}
                checkpoint.save(manager, state_at(step), {'loss': LOSSES[step], 'other': -LOSSES[step]}, about)
            checkpoint.wait(manager)
    return folder


def test_the_best_and_every_few_steps_are_kept_over_restarts(ranked):
    assert kept(ranked) == [20, 30, 50, 60, 70]


def test_metadata_tell_of_the_run(ranked):
    metadata = json.loads((ranked / 'checkpoints' / '60' / '_CHECKPOINT_METADATA').read_text())['custom_metadata']
    assert metadata['config'] == {'seed': 60}
    assert metadata['metrics'] == {'loss': 4.0, 'other': -4.0}


@pytest.mark.parametrize(
    ('which', 'step'), [(('newest',), 70), (('best',), 20), (('30',), 30), (('best', 'other'), 70)], ids=str
)
def test_which_is_read(ranked, which, step):
    params, found = reading.restore_ema(ranked, abstract(state_at(0).ema), *which)
    assert found == step
    assert_same(params, state_at(step).ema)


@pytest.mark.parametrize(
    ('which', 'message'),
    [
        (('35',), 'has no checkpoint 35; did you mean 50 or 30?'),
        (('bset',), 'has no checkpoint bset; did you mean best?'),
        (('best', 'accuracy'), 'was saved with a finite accuracy: name its step'),
    ],
    ids=str,
)
def test_what_is_not_there(ranked, which, message):
    with pytest.raises(UserError) as error:
        reading.restore_ema(ranked, abstract(state_at(0).ema), *which)
    assert str(error.value).endswith(message)


def test_the_best_after_a_damaged_one_is_read_and_a_named_one_is_not_replaced(ranked, tmp_path):
    shutil.copytree(ranked / 'checkpoints', tmp_path / 'checkpoints')
    damage(tmp_path, 20, 'ema')
    assert reading.restore_ema(tmp_path, abstract(state_at(0).ema), 'best')[1] == 50
    with pytest.raises(UserError, match=r'none of the checkpoints \[20\].*can be read'):
        reading.restore_ema(tmp_path, abstract(state_at(0).ema), '20')


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


def test_a_checkpoint_that_lacks_an_array_is_another_models(tmp_path, caplog):
    save_all(tmp_path, [10])
    wanted = {**abstract(state_at(0).ema), 'more': jax.ShapeDtypeStruct((3,), jnp.float32)}
    with pytest.raises(UserError, match="or they are another model's"):
        reading.restore_ema(tmp_path, wanted)
    assert 'it has no ema/more' in caplog.text


def test_a_second_learner_is_saved_and_has_no_place_where_there_is_none(tmp_path):
    """So that checkpoints from before there were any are read."""
    alone = state_at(1)
    two = alone._replace(second=Learner({'critic': alone.params['w']}, TX.init({'critic': alone.params['w']})))
    for name, state in (('alone', alone), ('two', two)):
        with opened(tmp_path / name) as manager:
            checkpoint.save(manager, state)
            checkpoint.wait(manager)
            assert_same(checkpoint.restore(manager, abstract(state)), state)
        with reading.open_reader(tmp_path / name / 'checkpoints') as reader:
            tree = reader.metadata(1).item_metadata['train'].tree
        second = {'second'} if name == 'two' else set()
        assert {*tree} == {'step', 'params', 'ema', 'opt_state', 'frozen', *second}
        assert {*tree['frozen']} == {'target', 'teacher'}
    with opened(tmp_path / 'two') as manager, pytest.raises(UserError, match="another model's"):
        checkpoint.restore(manager, abstract(alone))


def test_the_ema_alone(tmp_path):
    save_all(tmp_path, [10, 20])
    params, step = reading.restore_ema(tmp_path, abstract(state_at(0).ema))
    assert step == 20
    assert_same(params, state_at(20).ema)
    damage(tmp_path, 20)
    params, step = reading.restore_ema(tmp_path, abstract(state_at(0, devices=1).ema))
    assert step == 10
    assert_same(params, state_at(10).ema)
    assert (tmp_path / 'checkpoints' / '20').is_dir()  # whoever only reads moves nothing


def test_reading_leaves_a_save_in_flight_alone(tmp_path):
    save_all(tmp_path, [10])
    unfinished = tmp_path / 'checkpoints' / '20.orbax-checkpoint-tmp'
    unfinished.mkdir()
    (unfinished / 'data').write_text('half')
    _, step = reading.restore_ema(tmp_path, abstract(state_at(0).ema))
    assert step == 10
    assert (unfinished / 'data').exists()


def test_no_checkpoint(tmp_path):
    for _ in range(2):
        with pytest.raises(UserError, match=r'holds no checkpoint.*: train first, or check the path'):
            reading.restore_ema(tmp_path, abstract(state_at(0).ema))
        (tmp_path / 'checkpoints').mkdir(exist_ok=True)


@pytest.fixture(scope='module')
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two_steps')
    save_all(folder, [10, 20], width=4000)
    return folder


def damaged(folder, two_steps, how):
    """A copy of two checkpoints, the newer one damaged."""
    shutil.copytree(two_steps / 'checkpoints', folder / 'checkpoints')
    how(folder / 'checkpoints' / '20')
    return folder


def arrays(item):
    """The file of an item's arrays, large enough not to be among the checksummed lists of them."""
    return max((file for file in item.rglob('*') if file.is_file()), key=lambda file: file.stat().st_size)


def flip(file, byte):
    data = bytearray(file.read_bytes())
    data[byte] ^= 1
    file.write_bytes(data)


DAMAGES = {
    'a bit of the average': lambda step: flip(arrays(step / 'ema'), 2000),
    'a truncated array': lambda step: os.truncate(arrays(step / 'ema'), 2000),
    'no arrays': lambda step: arrays(step / 'ema').unlink(),
    'no average': lambda step: shutil.rmtree(step / 'ema'),
    'no metadata': lambda step: (step / '_CHECKPOINT_METADATA').unlink(),
    'half of the metadata': lambda step: os.truncate(step / '_CHECKPOINT_METADATA', 100),
    'nothing': lambda step: [shutil.rmtree(f) if f.is_dir() else f.unlink() for f in step.iterdir()],
}


@pytest.mark.parametrize('how', DAMAGES)
def test_every_damage_is_found_and_costs_one_step(two_steps, tmp_path, how, caplog):
    folder = damaged(tmp_path, two_steps, DAMAGES[how])
    wanted = state_at(10, width=4000)
    with caplog.at_level(logging.WARNING):
        params, step = reading.restore_ema(folder, abstract(wanted.ema))
    assert step == 10
    assert_same(params, wanted.ema)
    assert [m for m in caplog.messages if m.startswith('checkpoint 20 is unreadable (')]
    assert kept(folder) == [10, 20]  # whoever only reads moves nothing
    with opened(folder) as manager:
        assert_same(checkpoint.restore(manager, abstract(wanted)), wanted)
        checkpoint.save(manager, state_at(20, width=4000))
        checkpoint.wait(manager)
        assert_same(checkpoint.restore(manager, abstract(wanted)), state_at(20, width=4000))
    assert (folder / 'checkpoints' / 'unreadable_20').is_dir()


def test_a_flipped_bit_anywhere_is_found_or_does_no_harm(two_steps, tmp_path):
    """Of large arrays the storage library keeps no checksum: it would return other numbers without a word."""
    folder = damaged(tmp_path, two_steps, lambda step: None)
    file = arrays(folder / 'checkpoints' / '20' / 'ema')
    steps, wanted = [], {step: state_at(step, width=4000) for step in (10, 20)}
    for byte in np.random.default_rng(0).integers(0, file.stat().st_size, 20).tolist():
        flip(file, byte)
        params, step = reading.restore_ema(folder, abstract(wanted[10].ema))
        assert_same(params, wanted[step].ema)
        steps.append(step)
        flip(file, byte)
    assert steps.count(10) > 10


def test_an_older_versions_checkpoint_is_read(two_steps, tmp_path):
    def forget(step):
        file = step / '_CHECKPOINT_METADATA'
        file.write_text(json.dumps({**json.loads(file.read_text()), 'custom_metadata': None}))

    folder = damaged(tmp_path, two_steps, forget)
    assert reading.restore_ema(folder, abstract(state_at(20, width=4000).ema))[1] == 20
