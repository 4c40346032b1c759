"""The launcher's scripts on a real SLURM of two nodes, started here: time limits, preemption, arrays with failures."""

import csv
import json
import os
import shlex
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests import processes, slurm

WAIT = 400  # seconds
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slurm.missing() is not None, reason=f'no SLURM: {slurm.missing()}'),
]
CONFIG = """
from configs import toy2d

def get_config(arg=''):
    config = toy2d.get_config('runlocal')
    config.data.n = 64
    config.net.width, config.net.depth = 8, 1
    config.train.update(batch_size=64, log_every=1, sample_every=0, save_every=100_000)
    config.sample.times.n = 3
    return config
"""
# The last of the three diverges at once.
SWEEP = """
from experiments.sweep import grid

def sweep():
    return grid(**{'optim.lr': [0.001, 0.01, 1e30], 'seed': range(2)})
"""


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    with slurm.cluster(tmp_path_factory.mktemp('slurm')) as environment:
        yield environment


@pytest.fixture
def launch(cluster, tmp_path):
    """Launches what the flags say; returns the number of the job."""
    (tmp_path / 'config.py').write_text(CONFIG)
    (tmp_path / 'sweep.py').write_text(SWEEP)

    def launched(workdir, on, *flags):
        environment = processes.environment(1) | {'SLURM_CONF': cluster['SLURM_CONF']}
        environment['PATH'] = f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}'
        command = [sys.executable, '-m', 'experiments.launch', f'--config={tmp_path}/config.py', *flags]
        command += [f'--workdir={workdir}', f'--on=slurm:{on}', f'--setup=cd {shlex.quote(str(processes.ROOT))}']
        done = subprocess.run(
            command, env=environment, cwd=processes.ROOT, capture_output=True, text=True, timeout=WAIT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    return launched


def until(what, done):
    deadline = time.monotonic() + WAIT
    while not (found := done()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return found


def wait_for_end(cluster, job):
    until('the end of the job', lambda: not slurm.ask(cluster, 'squeue', '-h', '-j', job).strip())


def said(workdir):
    return ''.join(path.read_text() for path in workdir.glob('slurm-*.log'))


def metrics(workdir):
    path = workdir / 'metrics.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def steps(workdir):
    return [line['step'] for line in metrics(workdir)]


def arrays(workdir, step):
    """All of the training state, and of its average."""
    reader, found = ocp.PyTreeCheckpointer(), []
    for part in ('train', 'ema'):
        path = workdir / 'checkpoints' / str(step) / part
        kinds = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray), reader.metadata(path).item_metadata.tree
        )
        found += jax.tree.leaves(reader.restore(path, restore_args=kinds))
    return found


def test_a_time_limit_and_a_preemption_change_no_bit(cluster, launch, tmp_path):
    """The run of two processes is stopped by SLURM twice, for either reason; it ends as one that nobody stopped."""
    short, whole, cut = (
        tmp_path / 'short',
        tmp_path / 'whole',
        tmp_path / 'a b',
    )  # a space in the names of #SBATCH lines
    on = 'nodes=2,gpus=1,cpus=2'
    wait_for_end(cluster, launch(short, f'{on},time=10:00', '--config.train.steps=300'))
    n = round(70 / np.median([line['step_seconds'] for line in metrics(short)[100:]]))  # no time limit lets it end
    wait_for_end(cluster, launch(whole, f'{on},time=10:00', f'--config.train.steps={n}'))
    # SLURM looks once in half a minute, and counts whole minutes: the signal comes some time within the first.
    job = launch(cut, f'{on},time=1:00,grace=10', f'--config.train.steps={n}')
    until('the step', lambda: 'StepId=' in slurm.ask(cluster, 'scontrol', 'show', 'step', f'{job}.0'))
    assert 'TresPerStep=cpu:4' in slurm.ask(cluster, 'scontrol', 'show', 'step', f'{job}.0')
    until('the time limit', lambda: said(cut).count(f' of {n}; saved.') >= 2)
    before = steps(cut)[-1]
    until('more steps', lambda: steps(cut)[-1] > before)
    urgent = slurm.ask(cluster, 'sbatch', '-p', 'high', '-N2', '--exclusive', '-o', '/dev/null', '--wrap=true').split()
    wait_for_end(cluster, urgent[-1])
    assert said(cut).count(f' of {n}; saved.') >= 4  # by either process
    wait_for_end(cluster, job)
    assert steps(cut) == list(range(1, n + 1))
    ours, theirs = arrays(cut, n), arrays(whole, n)
    assert sum(np.size(a) for a in ours) > 1000
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    assert len(json.loads((cut / 'provenance.json').read_text())['earlier']) >= 2


def test_an_array_with_failures_is_one_table(cluster, launch, tmp_path):
    runs = tmp_path / 'runs'
    flags = [f'--sweep={tmp_path}/sweep.py', '--config.train.steps=4', '--config.mesh.data=1']
    wait_for_end(cluster, launch(runs, 'gpus=0,cpus=1,time=10:00', *flags))
    rows = list(csv.DictReader((runs / 'results.csv').read_text().splitlines()))
    assert [row['state'] for row in rows] == [*4 * ['done'], *2 * ['diverged']]
    lines = (runs / 'results.md').read_text().splitlines()
    assert [line.partition(' | ')[0] for line in lines[2:8]] == [f'| {i}' for i in range(6)]
    assert ['diverged: step ' in line for line in lines[2:8]] == [*4 * [False], *2 * [True]]
    assert len([*runs.glob('slurm-*.log')]) == 6


def test_what_is_cancelled_is_saved_and_stays_so(cluster, launch, tmp_path):
    """And no other run of its array is touched, neither then nor when one of them is told to stop and comes again."""
    flags = [f'--sweep={tmp_path}/sweep.py', '--index=0-1', '--config.train.steps=100000', '--config.mesh.data=1']
    job = launch(tmp_path / 'runs', 'gpus=0,cpus=1,time=10:00', *flags)
    logs = [tmp_path / 'runs' / f'slurm-{job}_{i}.log' for i in range(2)]

    def saves(i):
        return logs[i].read_text().count('; saved.') if logs[i].exists() else 0

    def states():
        return slurm.ask(cluster, 'squeue', '-h', '-r', '-j', job, '-o', '%K %T').splitlines()

    until('both at work', lambda: all(path.exists() and 'step 1/' in path.read_text() for path in logs))
    # The last run of an array has the number of the whole array.
    slurm.ask(cluster, 'scancel', '--signal=TERM', f'{job}_1')
    until('it to come again', lambda: '1 PENDING' in states())
    assert '0 RUNNING' in states()
    slurm.ask(cluster, 'scancel', f'{job}_0')
    until('the end of the other', lambda: not any(state.startswith('0 ') for state in states()))
    assert (saves(0), saves(1)) == (1, 1)
    slurm.ask(cluster, 'scancel', job)
    wait_for_end(cluster, job)
