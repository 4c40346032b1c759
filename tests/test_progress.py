"""What takes its time says so, what does not is quiet."""

import contextlib
import io
import time

import numpy as np
import pytest
from rich.console import Console

from diffusion_jax import builders, progress
from diffusion_jax.evaluation import measure
from diffusion_jax.evaluation.rows import Values
from tests import tiny


def test_what_takes_long_is_told_in_one_line_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, '_PATIENCE', 0.01)
    with progress.progress_bar('grids', 7) as told:
        time.sleep(0.3)
        told(3)
    assert capsys.readouterr() == ('grids: 7 to be done\n', '')


def test_what_is_soon_done_is_not_told(capsys, monkeypatch):
    monkeypatch.setattr(progress, '_PATIENCE', 0.5)
    with progress.progress_bar('grids', 7) as told:
        time.sleep(0.1)
        told(7)
    assert capsys.readouterr() == ('', '')


def test_a_terminal_has_a_bar(capsys, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(progress, 'Console', lambda stderr: Console(file=screen, force_terminal=True, width=100))
    monkeypatch.setattr(progress, '_PATIENCE', 0.01)
    with progress.progress_bar('grids', 7) as told:
        time.sleep(0.3)
        print('a result')
        told(3)
    assert 'grids' in screen.getvalue()
    assert '3/7' in screen.getvalue()
    assert capsys.readouterr().out == 'a result\n'


def test_a_bar_ends_with_what_it_is_of(capsys, monkeypatch):
    monkeypatch.setattr(progress, '_PATIENCE', 0.05)
    with pytest.raises(KeyboardInterrupt), progress.progress_bar('grids', 7):
        raise KeyboardInterrupt
    time.sleep(0.2)
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('held_out', [None, 'test'])
def test_a_reference_counts_all_rows_that_it_reads(held_out, monkeypatch):
    config = tiny.digits()
    source = builders.build_source(config['data'])
    other = None if held_out is None else builders.build_source(config['data'], held_out)
    seen = []

    @contextlib.contextmanager
    def watched(what, total):
        seen.append(total)
        yield seen.append

    monkeypatch.setattr(measure, 'progress_bar', watched)
    features = builders.build_features({'name': 'pixels'}, Values(source))
    measure.make_reference(source, features, other)
    rows = len(source.x) + (0 if other is None else 2 * min(len(source.x), len(other.x)))
    assert seen[0] == seen[-1] == rows
    assert (np.diff(seen[1:]) > 0).all()
