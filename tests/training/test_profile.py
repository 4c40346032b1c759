"""A trace of the steps asked for, and of no others."""

import jax.numpy as jnp
import pytest

from diffusion_jax.training.profile import profiled


@pytest.fixture
def traces(monkeypatch):
    """What the profiler is told, in the order of the steps."""
    told = []
    monkeypatch.setattr('jax.profiler.start_trace', lambda folder: told.append(f'start {folder.name}'))
    monkeypatch.setattr('jax.profiler.stop_trace', lambda: told.append('stop'))
    return told


def run(folder, told, start, until, at):
    def step(state, key, batch):
        told.append(state + 1)
        return state + 1, {}

    with profiled(step, folder, start, at, steps=2) as traced:
        for k in range(start, until):
            traced(k, None, None)


@pytest.mark.parametrize(
    ('start', 'until', 'at', 'expected'),
    [
        (0, 5, 3, [1, 2, 'start process_0', 3, 4, 'stop', 5]),
        (2, 4, 3, ['start process_0', 3, 4, 'stop']),
        (0, 3, 3, [1, 2, 'start process_0', 3, 'stop']),  # a run that ends within them
        (3, 5, 3, [4, 5]),  # one that resumes after them
        (0, 2, None, [1, 2]),
    ],
)
def test_which_steps(start, until, at, expected, tmp_path, traces):
    run(tmp_path, traces, start, until, at)
    assert traces == expected


def test_a_trace_is_written(tmp_path):
    with profiled(lambda state, key, batch: (state @ state, {}), tmp_path, 0, 2, steps=1) as step:
        for _ in range(3):
            step(jnp.eye(8), None, None)
    (trace,) = tmp_path.glob('process_0/plugins/profile/*/*.xplane.pb')
    assert b'train' in trace.read_bytes()
