"""One program of several processes, as far as one process can show it; the others are in test_processes.py."""

import pytest

from diffusion_jax import distributed


@pytest.mark.parametrize(('many', 'first', 'said'), [(False, True, 'a'), (True, True, 'a'), (True, False, '')])
def test_process_0_speaks_for_all(many, first, said, monkeypatch, capsys):
    monkeypatch.setattr(distributed, 'many', lambda: many)
    monkeypatch.setattr(distributed, 'is_first', lambda: first)
    with distributed.one_voice():
        print('a', end='')
    print('b')
    assert capsys.readouterr().out == f'{said}b\n'
