"""A run where nothing optional is there: as in a slim container, or on a node of a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_neither_git_nor_home_nor_caches_nor_a_terminal_are_needed(tmp_path):
    """No program on the path; a home, and so caches of JAX and Matplotlib, that cannot be made; nothing else is set."""
    bare = {'PATH': '/nowhere', 'HOME': os.devnull, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
    run = f'--workdir={tmp_path / "run"}'
    for command in (
        ['train', '--config=configs/toy2d.py:runlocal', '--config.train.steps=20', run],
        ['sample', run, '--num=4', f'--out={tmp_path / "x"}'],
        ['evaluate', run, '--num=64'],
    ):
        words = [sys.executable, '-m', f'diffusion_jax.{command[0]}', *command[1:]]
        done = subprocess.run(words, cwd=ROOT, env=bare, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / 'run' / 'provenance.json').read_text())['git'] is None
    assert np.load(tmp_path / 'x.npz')['samples'].shape == (4, 2)
    assert (tmp_path / 'run' / 'metrics.json').exists()
