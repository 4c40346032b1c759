"""Runs in a bucket: what it cannot do is done here or left out, and all else is as on a disk."""

import json
import logging
import os
import sys

import jax
import numpy as np
import pytest

from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.inference.sample_file import fill
from diffusion_jax.training import checkpoint
from diffusion_jax.training.logs import Log
from diffusion_jax.training.run import train
from diffusion_jax.workdir import files, paths, reading
from tests import bucket, tiny
from tests.training.test_checkpoint import abstract, assert_same, opened, save_all, state_at

RUN = 'gs://bucket/runs/x'


@pytest.fixture
def store(monkeypatch, tmp_path):
    """The objects of a bucket that stands in for Google's; asking Google for the kind of bucket is left out."""
    monkeypatch.setattr('orbax.checkpoint._src.path.gcs_utils.is_hierarchical_namespace_enabled', lambda path: False)
    monkeypatch.setattr(paths, '_is_there', lambda module: True)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    with bucket.served() as objects:
        yield objects


def content(store, path):
    return store[path.removeprefix('gs:/')].getvalue()


def test_stores_that_are_refused():
    with pytest.raises(UserError, match=r'^s3://b/x: a run can be on this machine, in gs://, or in another store'):
        paths.parse('s3://b/x')
    with pytest.raises(UserError, match=r'^gs://b/x needs \S+: pip install "diffusion_jax\[gcs\]"$'):
        paths.parse('gs://b/x')


def test_a_path_on_this_machine_is_what_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.absolute(paths.parse('runs/x')) == tmp_path / 'runs' / 'x'
    assert paths.near(tmp_path / 'x.npz') == tmp_path / 'x.npz'
    with paths.appended(tmp_path, 'metrics.jsonl') as (near, _):
        assert near == tmp_path


@pytest.mark.slow
def test_checkpoints_in_a_bucket(store, caplog):
    folder = paths.parse(RUN)
    save_all(folder, [10, 20, 30], width=400)
    with opened(folder) as manager:
        assert manager.all_steps() == [20, 30]
        assert_same(checkpoint.restore(manager, abstract(state_at(30, width=400))), state_at(30, width=400))
    (name,) = [name for name in store if name.startswith('/bucket/runs/x/checkpoints/30/ema/d/')]
    data = bytearray(store[name].getvalue())
    data[2000] ^= 1
    store[name] = bucket.MemoryFile(bucket.Bucket(), name, bytes(data))
    assert reading.restore_ema(folder, abstract(state_at(0, width=400).ema))[1] == 20
    with opened(folder) as manager, caplog.at_level(logging.WARNING):
        assert_same(checkpoint.restore(manager, abstract(state_at(20, width=400))), state_at(20, width=400))
        checkpoint.save(manager, state_at(30, width=400))
        checkpoint.wait(manager)
    assert any('checkpoint 30 is unreadable' in message for message in caplog.messages)
    assert any(name.startswith('/bucket/runs/x/checkpoints/unreadable_30/') for name in store)
    assert reading.restore_ema(folder, abstract(state_at(0, width=400).ema))[1] == 30


def test_files_of_a_run_in_a_bucket(store):
    folder, config = paths.parse(RUN), {'seed': 0}
    for start in (0, 1):
        files.check(folder, config, False)
        with files.lock(folder), paths.appended(folder, 'metrics.jsonl') as (near, copy):
            files.record(folder, config)
            with Log(near, start, 9) as log:
                for step in (start + 1, start + 2):
                    log.write(step, {'loss': 1.0 / step})
                    copy()
                    lines = [json.loads(line) for line in content(store, f'{RUN}/metrics.jsonl').splitlines()]
                    assert [line['step'] for line in lines] == list(range(1, step + 1))
    with pytest.raises(UserError, match='seed: 0 -> 1'):
        files.check(folder, {'seed': 1}, False)
    assert len(json.loads(content(store, f'{RUN}/provenance.json'))['earlier']) == 1
    assert len([name for name in store if 'tfevents' in name]) >= 1


def test_samples_drawn_before_an_interruption_are_not_drawn_again(store):
    drawn = []

    def draw_from(first):
        for i in range(first, 6, 2):
            drawn.append(i)
            if drawn == [0, 2, 4]:
                raise KeyboardInterrupt
            yield np.arange(i, i + 2, dtype=np.float32)[:, None]

    path = paths.parse(f'{RUN}/samples/x.npz')
    with pytest.raises(UserError, match='stopped after 4 of 6'):
        fill(path, {}, 6, draw_from, np.asarray)
    np.testing.assert_array_equal(fill(path, {}, 6, draw_from, np.asarray)[:, 0], np.arange(6))
    assert drawn == [0, 2, 4, 4]
    with path.open('rb') as file:
        np.testing.assert_array_equal(np.load(file)['samples'][:, 0], np.arange(6))
    assert not [f for f in paths.near(path).parent.iterdir()]


@pytest.mark.slow
def test_a_run_in_a_bucket_is_the_run_on_the_disk(store, tmp_path, capsys):
    folder = paths.parse(RUN)
    config = tiny.points(steps=20, save_every=5, log_every=5)
    here = train(config, tmp_path / 'run')
    train({**config, 'train': {**config['train'], 'steps': 10}}, folder)
    final = train(config, folder, allow_config_change=True)
    assert_same(final, here)
    assert runs.load(folder).step == 20
    for place in (RUN, str(tmp_path / 'run')):
        assert tiny.call('sample', f'--workdir={place}', '--num=3', f'--out={place}/x') == 0
        assert tiny.call('evaluate', f'--workdir={place}', '--num=40') == 0
    with (folder / 'x.npz').open('rb') as file:
        np.testing.assert_array_equal(np.load(file)['samples'], np.load(tmp_path / 'run' / 'x.npz')['samples'])
    theirs = {path.relative_to(tmp_path / 'run').parts[0] for path in (tmp_path / 'run').rglob('*')}
    ours = {name.removeprefix('/bucket/runs/x/').split('/')[0] for name in store}
    assert {*map(_kind, ours)} == {*map(_kind, theirs)} - {'.lock'}
    started = few_start(config, folder, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, started.params, here.ema)
    assert 'tensorflow' not in sys.modules
    assert os.environ['EPATH_USE_TF'] == 'false'


def _kind(name):
    return 'events' if 'tfevents' in name else name


def few_start(config, folder, tmp_path):
    """A run that starts from the one in the bucket and does no step."""
    config = {**config, 'init_from': str(folder), 'train': {**config['train'], 'steps': 0}}
    return train(config, tmp_path / 'started')
