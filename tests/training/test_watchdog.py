"""The watchdog, in processes of its own: it ends them."""

import subprocess
import sys

import pytest

from diffusion_jax.training.watchdog import STALLED

HEAD = 'import time\nfrom diffusion_jax.training.watchdog import watchdog\n'
HANGS = """
def hangs_here():
    time.sleep(60)
with watchdog(0.3) as beat:
    beat()
    hangs_here()
"""
WORKS = """
with watchdog(0.5) as beat:
    time.sleep(1.2)
    for _ in range(12):
        beat()
        time.sleep(0.1)
time.sleep(0.8)
with watchdog(0.0) as beat:
    beat()
    time.sleep(0.2)
"""


def run(program):
    return subprocess.run(
        [sys.executable, '-c', HEAD + program], capture_output=True, text=True, timeout=50, check=False
    )


def test_a_program_that_hangs_is_ended_and_shows_where():
    done = run(HANGS)
    assert done.returncode == STALLED
    assert 'error: no step was finished for 0.3 s' in done.stderr
    assert 'hangs_here' in done.stderr


@pytest.mark.slow
def test_a_program_that_works_or_has_not_begun_is_left_alone():
    done = run(WORKS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
