"""A half-done file of samples is gone on with, and nothing is drawn twice."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from diffusion_jax.data import kinds
from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.inference.sample_file import fill

ROWS = np.random.default_rng(0).uniform(-1, 1, (11, 4, 4, 1)).astype(np.float32)
STORED = np.round(127.5 * ROWS + 127.5).astype(np.uint8)
STORE = kinds.images((4, 4, 1)).store
REQUEST = {'seed': 0, 'sample': {'sampler': {'name': 'ddim', 'eta': 0.5}}}


def drawn_in_fours(seen, fail_at=None, error=KeyboardInterrupt):
    """Batches of four rows; raises when it comes to the row `fail_at`."""

    def draw_from(first):
        for i in range(first, len(ROWS), 4):
            if fail_at is not None and i >= fail_at:
                raise error('no more')
            seen.append(i)
            yield ROWS[i : i + 4]

    return draw_from


def saved(path):
    with np.load(path) as file:
        return file['samples']


def test_an_interrupted_file_is_gone_on_with(tmp_path):
    path, seen, done = tmp_path / 'a' / 'b.npz', [], []
    with pytest.raises(Interrupted, match='stopped after 8 of 11 samples'):
        fill(path, REQUEST, 11, drawn_in_fours(seen, 8), STORE)
    assert not path.exists()
    x = fill(path, REQUEST, 11, drawn_in_fours(seen), STORE, done.append)
    assert seen == [0, 4, 8]
    assert done == [8, 11]
    np.testing.assert_array_equal(x, STORED)
    np.testing.assert_array_equal(saved(path), STORED)
    assert [p.name for p in path.parent.iterdir()] == ['b.npz']


@pytest.mark.parametrize('change', [{'seed': 1}, {'sample': {'sampler': {'name': 'ddim', 'eta': 0.6}}}])
def test_another_request_begins_anew_and_keeps_the_finished_file(tmp_path, change):
    path, seen = tmp_path / 'b.npz', []
    fill(path, REQUEST, 11, drawn_in_fours(seen), STORE)
    with pytest.raises(UserError):
        fill(path, REQUEST, 11, drawn_in_fours(seen, 4, UserError), STORE)
    np.testing.assert_array_equal(saved(path), STORED)
    seen.clear()
    fill(path, {**REQUEST, **change}, 11, drawn_in_fours(seen), STORE)
    assert seen == [0, 4, 8]


def test_another_number_begins_anew(tmp_path):
    path, seen = tmp_path / 'b.npz', []
    with pytest.raises(Interrupted):
        fill(path, REQUEST, 12, drawn_in_fours(seen, 8), STORE)
    x = fill(path, REQUEST, 11, drawn_in_fours(seen), STORE)
    assert seen == [0, 4, 0, 4, 8]
    assert len(x) == 11


def test_a_kill_between_rows_and_count_repeats_that_batch(tmp_path):
    path, seen = tmp_path / 'b.npz', []
    with pytest.raises(Interrupted):
        fill(path, REQUEST, 11, drawn_in_fours(seen, 8), STORE)
    count = tmp_path / '.b.unfinished.json'
    count.write_text(json.dumps({**json.loads(count.read_text()), 'done': 4}))
    np.testing.assert_array_equal(fill(path, REQUEST, 11, drawn_in_fours(seen), STORE), STORED)
    assert seen == [0, 4, 4, 8]


def test_points_stay_as_they_are(tmp_path):
    points = ROWS[:, :2, 0, 0]
    np.testing.assert_array_equal(fill(tmp_path / 'p.npz', {}, 11, lambda first: iter([points]), np.asarray), points)
    assert saved(tmp_path / 'p.npz').dtype == np.float32


DAMAGE = {
    'rows cut': lambda rows, done: rows.write_bytes(rows.read_bytes()[:140]),
    'rows empty': lambda rows, done: rows.write_bytes(b''),
    'an open header': lambda rows, done: rows.write_bytes(rows.read_bytes().replace(b'}', b'(')),
    'other rows': lambda rows, done: np.save(rows, np.zeros((11, 3), np.uint8)),
    'a list': lambda rows, done: done.write_text('[]'),
    'no JSON': lambda rows, done: done.write_text('{'),
    'too many': lambda rows, done: done.write_text(done.read_text().replace('"done": 8', '"done": 12')),
    'a text': lambda rows, done: done.write_text(done.read_text().replace('"done": 8', '"done": "8"')),
    'an older form': lambda rows, done: done.write_text(json.dumps({**json.loads(done.read_text()), 'rows': None})),
}


@pytest.mark.parametrize('damage', DAMAGE)
def test_what_was_begun_and_is_damaged_is_begun_anew(tmp_path, damage):
    path, seen = tmp_path / 'x.npz', []
    with pytest.raises(Interrupted):
        fill(path, REQUEST, 11, drawn_in_fours(seen, fail_at=8), STORE)
    DAMAGE[damage](tmp_path / '.x.unfinished.npy', tmp_path / '.x.unfinished.json')
    fill(path, REQUEST, 11, drawn_in_fours(seen), STORE)
    assert seen == [0, 4, 0, 4, 8]
    np.testing.assert_array_equal(saved(path), STORED)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.slow
def test_a_killed_command_ends_with_the_same_samples(digits_run, tmp_path):
    def command(out):
        flags = [f'--workdir={digits_run}', f'--out={out}', '--num=400', '--batch_size=8', '--sampler=ddim']
        return [sys.executable, '-m', 'diffusion_jax.sample', *flags, '--steps=40']

    killed = subprocess.Popen(command(tmp_path / 'killed'), env=os.environ)
    count = tmp_path / '.killed.unfinished.json'
    while not (count.exists() and json.loads(count.read_text())['done'] >= 24):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / 'killed.npz').exists()
    for name in ('killed', 'whole'):
        subprocess.run(command(tmp_path / name), env=os.environ, check=True, timeout=300)
    np.testing.assert_array_equal(saved(tmp_path / 'killed.npz'), saved(tmp_path / 'whole.npz'))
