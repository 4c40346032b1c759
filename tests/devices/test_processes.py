"""One program of several processes, as far as one process can show it; the others are in test_processes.py."""

import pytest

from diffusion_jax.devices import processes


@pytest.mark.parametrize(('many', 'first', 'said'), [(False, True, 'a'), (True, True, 'a'), (True, False, '')])
def test_process_0_speaks_for_all(many, first, said, monkeypatch, capsys):
    monkeypatch.setattr(processes, 'many', lambda: many)
    monkeypatch.setattr(processes, 'is_first', lambda: first)
    with processes.one_voice():
        print('a', end='')
    print('b')
    assert capsys.readouterr().out == f'{said}b\n'
