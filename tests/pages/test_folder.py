"""What is read of a run's folder, while it may be written to."""

import json
import os

import pytest

from diffusion_jax.errors import UserError
from diffusion_jax.pages import folder


def lines(*rows):
    return [json.dumps(row) for row in rows]


def run(path, steps=4, log=(), **fields):
    path.mkdir(parents=True)
    config = {'format': 2, 'train': {'steps': steps}, 'optim': {'lr': 0.1}, **fields}
    (path / 'config.json').write_text(json.dumps(config))
    if log:
        (path / 'metrics.jsonl').write_text('\n'.join(log) + '\n')
    return path


def test_a_log_is_a_curve_for_each_metric():
    found = folder.curves(lines({'step': 1, 'loss': 3.0, 'mfu': 0.5}, {'step': 3, 'loss': 2, 'note': 'x'}))
    assert found == {'loss': ([1, 3], [3.0, 2.0]), 'mfu': ([1], [0.5])}


def test_where_a_run_went_on_the_newer_rows_count():
    """Killed at step 4, begun anew from the checkpoint of step 1: what was lost is not shown."""
    log = lines(
        *({'step': s, 'loss': 10.0 + s} for s in (1, 2, 3, 4)), {'step': 2, 'loss': 0.5}, {'step': 3, 'loss': 0.25}
    )
    assert folder.curves(log) == {'loss': ([1, 2, 3], [11.0, 0.5, 0.25])}


def test_a_line_that_is_being_written_is_left_out():
    found = folder.curves([*lines({'step': 1, 'loss': 3.0}), '{"step": 2, "lo', '[]', '{"loss": 1}', ''])
    assert found == {'loss': ([1], [3.0])}


def test_what_is_not_finite_is_a_gap():
    found = folder.curves(['{"step": 1, "loss": NaN}', '{"step": 2, "loss": -Infinity}', '{"step": 3, "loss": 1.5}'])
    assert found == {'loss': ([1, 2, 3], [None, None, 1.5])}


def test_time_left_is_that_of_the_last_steps(tmp_path):
    log = lines(*({'step': s, 'step_seconds': t} for s, t in zip((1, 2, 3), (100.0, 2.0, 3.0), strict=True)))
    seen = folder.read(run(tmp_path / 'r', steps=13, log=log))
    assert (seen.step, seen.steps, seen.seconds_left) == (3, 13, 30.0)
    assert folder.read(run(tmp_path / 'new')).seconds_left is None


def test_media_come_the_newest_first_and_nothing_else(tmp_path):
    path = run(tmp_path / 'r')
    (path / 'samples').mkdir()
    for at, name in enumerate(('a.png', 'b.wav', 'c.gif', 'd.npz', '.e.png')):
        (path / 'samples' / name).write_bytes(b'x')
        os.utime(path / 'samples' / name, (at, at))
    assert [p.name for p in folder.read(path).media] == ['c.gif', 'b.wav', 'a.png']


def test_names_tell_runs_apart(tmp_path):
    paths = [run(tmp_path / p) for p in ('a/x', 'b/x', 'b/y')]
    assert [seen.name for seen in folder.read_all(paths)] == ['a/x', 'b/x', 'b/y']
    assert [seen.name for seen in folder.read_all(paths[1:])] == ['x', 'y']
    with pytest.raises(UserError, match='x is given twice'):
        folder.read_all([paths[0], tmp_path / 'a' / '..' / 'a' / 'x'])


def test_differences_are_the_fields_that_are_not_the_same(tmp_path):
    a = run(tmp_path / 'a', optim={'lr': 1e-4, 'b1': 0.9})
    b = run(tmp_path / 'b', optim={'lr': 2e-4, 'b1': 0.9}, init_from='a')
    assert folder.differences(folder.read_all([a, b])) == {'optim.lr': ['0.0001', '0.0002'], 'init_from': ['', 'a']}
    assert folder.differences(folder.read_all([a])) == {}


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match='holds no run'):
        folder.read(tmp_path)
