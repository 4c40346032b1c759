"""A whole run through `train`: stopped, damaged and resumed, it ends where the uninterrupted one ends, bit for bit."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from diffusion_jax.data import pipeline
from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.inference import runs
from diffusion_jax.optim import skip_bad_updates
from diffusion_jax.training import checkpoint, run
from diffusion_jax.training.run import train
from diffusion_jax.workdir import files
from tests import tiny
from tests.training.test_checkpoint import damage

ROOT = Path(__file__).parents[2]
# What of a line of metrics.jsonl depends on the clock.
MEASURED = {
    'images_per_second',
    'step_seconds',
    'input_wait_share',
    'flops_per_second',
    'compile_seconds',
    'step_flops',
}


def metrics(folder):
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in MEASURED} for line in lines]


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y, strict=True), jax.device_get(a), jax.device_get(b))


@pytest.fixture
def seen(monkeypatch):
    """The batches that are drawn, by step."""
    batches, batch_at = {}, pipeline.batch_at

    def recorded(*args):
        at = batch_at(*args)

        def record(step):
            batches.setdefault(step, []).append(at(step))
            return batches[step][-1]

        return record

    monkeypatch.setattr(pipeline, 'batch_at', recorded)
    return batches


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp('uninterrupted')
    return train(tiny.points(steps=20), folder), folder


def test_resumed_equals_uninterrupted(tmp_path, uninterrupted, seen):
    expected, folder = uninterrupted
    train(tiny.points(steps=10), tmp_path)
    train(tiny.points(steps=20), tmp_path, allow_config_change=True)
    final = train(tiny.points(steps=20), tmp_path)  # finished: only restored
    assert int(final.step) == 20
    assert_same(final, expected)
    assert metrics(tmp_path) == metrics(folder)
    assert [line['step'] for line in metrics(tmp_path)] == [5, 10, 15, 20]
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert all(line['images_per_second'] == 8 / line['step_seconds'] > 0 for line in lines)
    assert [line['step'] for line in lines if 'compile_seconds' in line] == [5, 15]  # once a start
    assert {*range(20)} <= {*seen}
    for drawn in seen.values():
        for batch in drawn[1:]:
            assert_same(batch, drawn[0])
    assert not np.array_equal(seen[0][0].x, seen[1][0].x)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_its_steps_alone(tmp_path, uninterrupted, caplog):
    expected, folder = uninterrupted
    config = tiny.points(steps=20)
    train(config, tmp_path)
    damage(tmp_path, 20)
    with caplog.at_level(logging.WARNING):
        final = train(config, tmp_path)
    assert any('checkpoint 20 is unreadable' in message for message in caplog.messages)
    assert_same(final, expected)
    assert metrics(tmp_path) == metrics(folder)
    assert_same(runs.load(tmp_path).params, expected.ema)


def test_seeds_differ(tmp_path, uninterrupted):
    config = tiny.points(steps=5)
    final = train({**config, 'seed': 1}, tmp_path)
    assert not np.array_equal(final.params['dense_in']['kernel'], uninterrupted[0].params['dense_in']['kernel'])


@pytest.mark.slow
def test_the_learning_rate_of_nan(tmp_path, uninterrupted):
    config = tiny.points(steps=20, save_every=5)
    train({**config, 'train': {**config['train'], 'steps': 10}}, tmp_path)
    config = {**config, 'optim': {**config['optim'], 'lr': float('inf'), 'clip': None}}
    with pytest.raises(UserError, match=r'^step 1[12]: .*nan.*go on with --allow_config_change'):
        train(config, tmp_path, allow_config_change=True)
    assert sorted(p.name for p in (tmp_path / 'checkpoints').iterdir()) == ['10', '5']


def test_ctrl_c_within_the_run(tmp_path, monkeypatch, uninterrupted):
    save, before = checkpoint.save, signal.getsignal(signal.SIGINT)

    def save_and_interrupt(manager, state, *more):
        save(manager, state, *more)
        if int(state.step) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(checkpoint, 'save', save_and_interrupt)
    config = tiny.points(steps=20, save_every=5)
    with pytest.raises(Interrupted, match='stopped at step 6 of 20; saved'):
        train(config, tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.name for p in (tmp_path / 'checkpoints').iterdir() if p.name == '6']
    assert_same(train(config, tmp_path), uninterrupted[0])


def test_a_refused_resume_leaves_the_saved_config_alone(tmp_path):
    config = tiny.points(steps=5)
    train(config, tmp_path)
    saved = (tmp_path / 'config.json').read_bytes()
    wider = {**config, 'net': {**config['net'], 'width': 16}}
    with pytest.raises(UserError, match='holds a run with another config'):
        train(wider, tmp_path)
    with pytest.raises(UserError, match="or they are another model's"):
        train(wider, tmp_path, allow_config_change=True)
    assert (tmp_path / 'config.json').read_bytes() == saved
    assert int(train(config, tmp_path).step) == 5


def test_a_trace_is_no_change_of_a_run(tmp_path):
    train(tiny.points(steps=4), tmp_path)
    train(tiny.points(steps=4, profile_at=2, profile_steps=1), tmp_path)
    with pytest.raises(UserError, match='holds a run with another config'):
        train(tiny.points(steps=4, max_skips=2), tmp_path)


def environment():
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'XLA_FLAGS': '', 'PYTHONUNBUFFERED': '1'}


def command(folder):
    config = f'--config={ROOT}/configs/toy2d.py:runlocal'
    return [config, f'--workdir={folder}', '--config.data.n=64', '--config.sample.times.n=2']


@pytest.mark.slow
def test_ctrl_c_from_outside(tmp_path):
    call = [sys.executable, '-m', 'diffusion_jax.train', *command(tmp_path), '--config.train.steps=1000000']
    process = subprocess.Popen(call, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / 'metrics.jsonl').exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert 'Traceback' not in err
    last = err.strip().splitlines()[-1]
    assert 'saved. Run the same command again to go on.' in last
    step = int(last.split()[3])
    assert (tmp_path / 'checkpoints' / str(step)).is_dir()
    more = [f'--config.train.steps={step + 5}', '--allow_config_change']
    assert tiny.call('train', *command(tmp_path), *more) == 0
    assert metrics(tmp_path)[-1]['step'] == step + 5


@pytest.mark.slow
def test_a_full_disk_while_saving(tmp_path):
    assert tiny.call('train', *command(tmp_path), '--config.train.steps=10') == 0
    # No file may grow beyond the limit any more: those of a checkpoint of this net do, all others do not.
    call = [sys.executable, '-m', 'diffusion_jax.train', *command(tmp_path), '--config.train.steps=30']
    full = subprocess.run(
        ['sh', '-c', 'ulimit -f 200; exec "$@"', 'sh', *call, '--allow_config_change'],
        cwd=ROOT,
        # JAX warns of a cache entry that it cannot write: with a cold cache that would be one more line.
        env=environment() | {'JAX_ENABLE_COMPILATION_CACHE': 'false'},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert full.returncode == 2, full.stderr
    lines = [line for line in full.stderr.splitlines() if not line.startswith('step ')]
    assert len(lines) == 1, full.stderr
    assert lines[0].startswith(
        'error: saving a checkpoint failed (File too large); the checkpoint of step 10 is intact'
    )
    assert runs.load(tmp_path).step == 10
    assert tiny.call('train', *command(tmp_path), '--config.train.steps=30') == 0
    assert [line['step'] for line in metrics(tmp_path)] == list(range(5, 31, 5))


def test_a_finished_run_says_so_and_is_not_made_shorter(tmp_path, capsys):
    train(tiny.points(steps=6), tmp_path)
    before = (tmp_path / 'config.json').read_text()
    assert 'nothing left' not in capsys.readouterr().err
    train(tiny.points(steps=6), tmp_path)
    assert (
        capsys.readouterr().err.splitlines()[-1] == f'{tmp_path} has done its 6 steps: there is nothing left to train'
    )
    with pytest.raises(UserError, match=f'config.train.steps=4, and {tmp_path} has done 6: use 6 or more'):
        train(tiny.points(steps=4), tmp_path, allow_config_change=True)
    assert (tmp_path / 'config.json').read_text() == before


def test_pictures_are_of_the_averaged_parameters(tmp_path, monkeypatch):
    drawn = []

    def generate(drawing, key, num):
        drawn.append(jax.device_get(drawing.params))
        return np.zeros((num, 2), np.float32)

    monkeypatch.setattr(run, 'generate', generate)
    state = train(tiny.points(steps=4), tmp_path)
    assert_same(drawn[-1], state.ema)
    assert not np.array_equal(jax.tree.leaves(state.ema)[0], jax.tree.leaves(state.params)[0])


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_told_and_sampled(tmp_path, capsys):
    """By the mean of the loss over the steps since the checkpoint before, as metrics.jsonl has it."""
    shorter = ['--config.train.steps=8', '--config.train.log_every=2', '--config.train.save_every=2']
    keep = ['--config.train.keep=1', '--config.train.keep_best=1', '--config.train.keep_every=6']
    assert tiny.call('train', *command(tmp_path), *shorter, *keep) == 0
    losses = {line['step']: line['loss'] for line in metrics(tmp_path)}
    best = min([2, 4, 6], key=losses.__getitem__)  # the last one is kept in any case
    assert {int(p.name) for p in (tmp_path / 'checkpoints').iterdir()} == {best, 6, 8}
    told = json.loads((tmp_path / 'checkpoints' / '8' / '_CHECKPOINT_METADATA').read_text())['custom_metadata']
    assert told['metrics']['loss'] == pytest.approx(losses[8])
    assert told['config'] == files.load_config(tmp_path)
    assert told['provenance']['versions']['jax'] == jax.__version__
    for which, step in [('best', min(best, 8, key=losses.__getitem__)), ('6', 6), ('newest', 8)]:
        given = [f'--workdir={tmp_path}', f'--step={which}', f'--out={tmp_path}/x']
        assert tiny.call('sample', *given, '--num=2') == 0
        assert f'2 samples of step {step} in' in capsys.readouterr().out
    said = tiny.refusal(capsys, 'evaluate', f'--workdir={tmp_path}', '--step=7', '--num=4')
    assert said == f'{tmp_path} has no checkpoint 7; known: {", ".join(sorted(map(str, {best, 6, 8})))}, best, newest'


@pytest.mark.parametrize(
    ('train', 'message'),
    [
        ({'keep_best': 1, 'best_by': 'los'}, "config.train.best_by='los' is no metric of this run; did you mean loss?"),
        ({'keep_every': 12}, 'config.train.keep_every=12 is no multiple of save_every=10; use 10 or 20'),
    ],
)
def test_what_cannot_be_kept(tmp_path, train, message):
    with pytest.raises(UserError) as error:
        run.train(tiny.points(**train), tmp_path / 'run')
    assert str(error.value) == message
    assert not (tmp_path / 'run').exists()


def plant_nan(monkeypatch, *steps):
    """The batches of these steps (counted from 0) hold a NaN."""
    batch_at = pipeline.batch_at

    def planted(*args):
        at = batch_at(*args)

        def batch(step):
            raw = at(step)
            return raw._replace(x=np.where(step in steps, np.nan, raw.x).astype(raw.x.dtype))

        return batch

    monkeypatch.setattr(pipeline, 'batch_at', planted)


@pytest.mark.slow
def test_a_run_that_skips_bad_updates_resumes_exactly(tmp_path, monkeypatch):
    """Skipped before, at and after the checkpoint of step 10."""
    plant_nan(monkeypatch, 6, 9, 10, 13)
    expected = train(tiny.points(steps=20, max_skips=2), tmp_path / 'whole')
    train(tiny.points(steps=10, max_skips=2), tmp_path / 'cut')
    final = train(tiny.points(steps=20, max_skips=2), tmp_path / 'cut', allow_config_change=True)
    assert_same(final, expected)
    assert metrics(tmp_path / 'cut') == metrics(tmp_path / 'whole')
    logged = [json.loads(line)['skipped'] for line in (tmp_path / 'whole' / 'metrics.jsonl').read_text().splitlines()]
    assert logged == [0, 2, 4, 4]


@pytest.mark.slow
def test_a_run_begins_and_ends_to_skip(tmp_path, monkeypatch):
    """Turned on where a run diverged, and off again; the counts begin anew, the optimiser goes on."""
    train(tiny.points(steps=15), tmp_path / 'plain')
    plant_nan(monkeypatch, 15)
    with pytest.raises(UserError, match=r'^step 16: .*loss=nan.* set optim.clip or train.max_skips; go on'):
        train(tiny.points(steps=20), tmp_path / 'plain', allow_config_change=True)
    on = train(tiny.points(steps=20, max_skips=2), tmp_path / 'plain', allow_config_change=True)
    assert int(skip_bad_updates.counts(on.opt_state)['skipped']) == 1
    assert int(optax.tree.get(skip_bad_updates.bare(on.opt_state), 'count', filtering=is_adams)) == 19
    off = train(tiny.points(steps=21), tmp_path / 'plain', allow_config_change=True)
    assert int(optax.tree.get(off.opt_state, 'count', filtering=is_adams)) == 20
    assert skip_bad_updates.counts(off.opt_state) == {}


def is_adams(path, _):
    return any('ScaleByAdamState' in str(p) for p in path)


def test_too_many_bad_batches_in_a_row_end_the_run(tmp_path, monkeypatch):
    plant_nan(monkeypatch, 6, 7, 8)
    with pytest.raises(UserError, match=r'^step 9: .*loss=nan.* the last of 3 steps skipped in a row'):
        train(tiny.points(steps=20, max_skips=2, save_every=4), tmp_path)
    assert sorted(int(p.name) for p in (tmp_path / 'checkpoints').iterdir()) == [4, 8]
