"""Real processes: several of them as one program, their faults, and kills at any moment."""

import json
import random
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from diffusion_jax import runs
from diffusion_jax.watchdog import STALLED
from tests import processes

pytestmark = pytest.mark.slow
WAIT = 300  # seconds: processes compile, and the machine may be busy


def arguments(folder, *more):
    shorter = ['--config.data.n=256', '--config.train.batch_size=16', '--config.sample.times.n=2']
    shorter += ['--config.train.steps=20', '--config.train.log_every=1', '--config.train.save_every=10']
    return ['--config=configs/toy2d.py:runlocal', f'--workdir={folder}', *shorter, *more]


def trained(folder, n, devices, *more, module='diffusion_jax.train', **changes):
    job = processes.start(module, arguments(folder, *more), n, devices, **changes)
    return processes.finish(job, WAIT)


def losses(folder):
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == list(range(1, len(lines) + 1))
    return np.array([(line['loss'], line['grad_norm']) for line in lines])


def saved_steps(folder):
    return sorted(int(p.name) for p in (folder / 'checkpoints').iterdir() if p.name.isdigit())


def wait_for_step(folder, step, job):
    deadline = time.monotonic() + WAIT
    path = folder / 'metrics.jsonl'
    while not (path.exists() and path.read_text().count('\n') >= step):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in job), [p.communicate()[1] for p in job]
        time.sleep(0.05)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp('alone')
    codes, said = trained(folder, 1, 1)
    assert codes == [0], said
    return losses(folder), runs.load(folder).params


@pytest.mark.parametrize('fsdp', [1, 4])
def test_two_processes_train_as_one(fsdp, alone, tmp_path):
    codes, said = trained(tmp_path, 2, 4, f'--config.mesh.fsdp={fsdp}', '--config.train.profile_at=5')
    assert codes == [0, 0], said
    np.testing.assert_allclose(losses(tmp_path), alone[0], rtol=2e-5, atol=1e-6)
    params = runs.load(tmp_path).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, alone[1])
    assert (tmp_path / 'samples' / 'step_00000020.png').exists()
    for process in (0, 1):
        assert len(list(tmp_path.glob(f'profile/process_{process}/plugins/profile/*/*.xplane.pb'))) == 1


def test_a_run_goes_on_on_other_numbers_of_hosts_and_devices(alone, tmp_path):
    """Two hosts of four devices, then one of eight, then one of one: the curve of one device all along."""
    change = '--allow_config_change'
    for steps, n, devices, fsdp in [(7, 2, 4, 2), (14, 1, 8, 8), (20, 1, 1, 1)]:
        more = [f'--config.train.steps={steps}', f'--config.mesh.fsdp={fsdp}', change]
        codes, said = trained(tmp_path, n, devices, *more)
        assert codes == [0] * n, said
    np.testing.assert_allclose(losses(tmp_path), alone[0], rtol=2e-5, atol=1e-6)
    params = runs.load(tmp_path).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, alone[1])


def test_two_processes_sample_as_one(alone, tmp_path):
    codes, said = trained(tmp_path / 'run', 1, 1)
    assert codes == [0], said
    files = []
    for n, devices in [(1, 1), (2, 2)]:
        files.append(tmp_path / f'{n}')
        job = processes.start(
            'diffusion_jax.sample', [f'--workdir={tmp_path / "run"}', '--num=11', f'--out={files[-1]}'], n, devices
        )
        codes, said = processes.finish(job, WAIT)
        assert codes == [0] * n, said
    one, two = (np.load(f'{file}.npz')['samples'] for file in files)
    assert one.shape == (11, 2)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


def test_sigterm_on_one_of_two_saves_one_step_on_both(alone, tmp_path):
    job = processes.start('diffusion_jax.train', arguments(tmp_path, '--config.train.steps=100000'), 2, 2)
    wait_for_step(tmp_path, 12, job)
    job[1].send_signal(signal.SIGTERM)
    begin = time.monotonic()
    codes, said = processes.finish(job, WAIT)
    assert codes == [143, 143], said
    assert time.monotonic() - begin < 60
    step = saved_steps(tmp_path)[-1]
    assert all(f'stopped at step {step} of 100000; saved.' in text for text in said), said
    np.testing.assert_allclose(losses(tmp_path)[:20], alone[0][: min(20, step)], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_process_ends_the_job(rank, tmp_path):
    more = ['--config.train.steps=100000', '--heartbeat=10']
    job = processes.start('diffusion_jax.train', arguments(tmp_path, *more), 2, 1)
    wait_for_step(tmp_path, 5, job)
    job[rank].kill()
    begin = time.monotonic()
    codes, said = processes.finish(job, WAIT)
    assert time.monotonic() - begin < 60
    assert 0 not in codes
    assert len(said[1 - rank].strip()) > 100, said  # the other one's reason


def test_an_exception_in_one_process_ends_the_job(tmp_path):
    begin = time.monotonic()
    codes, said = trained(tmp_path, 2, 1, '--heartbeat=10', module='tests.faulty', FAULT='raise:12')
    assert 0 not in codes, said
    assert 'RuntimeError: the disk of this host is gone' in said[1]
    assert codes[1] == 1
    assert time.monotonic() - begin < WAIT
    assert saved_steps(tmp_path) == [10]


def test_a_hanging_input_ends_the_job(tmp_path):
    more = ['--config.train.watchdog=15.0', '--heartbeat=10']
    codes, said = trained(tmp_path, 2, 1, *more, module='tests.faulty', FAULT='hang:12')
    assert STALLED in codes, (codes, said)
    assert 0 not in codes
    assert 'no step was finished for 15 s' in ''.join(said)
    assert any('faulty.py' in text and 'in fail' in text for text in said), said  # the stack that hangs
    assert saved_steps(tmp_path) == [10]


def test_a_part_that_one_process_cannot_read_costs_one_step_on_both(tmp_path):
    """Each process reads only its part of a sharded array: where one fails, both must take the checkpoint before."""
    more = ['--config.mesh.fsdp=2', '--config.train.keep_best=1']
    codes, said = trained(tmp_path, 2, 1, *more)
    assert codes == [0, 0], said
    whole, before = losses(tmp_path), runs.load(tmp_path).params
    arrays = tmp_path / 'checkpoints' / '20' / 'train' / 'ocdbt.process_1' / 'd'
    largest = max(arrays.iterdir(), key=lambda file: file.stat().st_size)
    assert largest.stat().st_size > 2**14  # a shard of its own
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    codes, said = trained(tmp_path, 2, 1, *more)
    assert codes == [0, 0], said
    assert any('checkpoint 20 is unreadable' in text for text in said), said
    assert (tmp_path / 'checkpoints' / 'unreadable_20').is_dir()
    np.testing.assert_array_equal(losses(tmp_path), whole)
    jax.tree.map(np.testing.assert_array_equal, runs.load(tmp_path).params, before)


def test_two_runs_do_not_share_a_folder(tmp_path):
    first = processes.start('diffusion_jax.train', arguments(tmp_path, '--config.train.steps=100000'), 1, 1)
    wait_for_step(tmp_path, 1, first)
    codes, said = trained(tmp_path, 1, 1, '--config.train.steps=100000')
    first[0].kill()
    processes.finish(first, WAIT)
    assert codes == [2], said
    assert said[0].strip().splitlines()[-1] == (
        f'error: {tmp_path} is in use by another run: wait for it, or use another --workdir'
    )


def test_twenty_kills_change_nothing(tmp_path):
    """At any moment: in a step, a save, a picture. Seconds to the kill are drawn from the time a whole start takes."""
    more = ['--config.train.steps=400', '--config.train.save_every=7', '--config.train.sample_every=31']
    codes, said = trained(tmp_path / 'whole', 1, 1, *more)
    assert codes == [0], said
    rng, folder, kills = random.Random(0), tmp_path / 'killed', 0
    while kills < 20:
        before = saved_steps(folder) if (folder / 'checkpoints').exists() else []
        job = processes.start('diffusion_jax.train', arguments(folder, *more), 1, 1)
        path, lines = folder / 'metrics.jsonl', rng.randrange(1, 19)
        first = len(path.read_text().splitlines()) if path.exists() else 0
        wait_for_more(path, first, lines, job[0])
        time.sleep(rng.uniform(0, 0.3))
        finished = job[0].poll() is not None
        job[0].kill()
        processes.finish(job, WAIT)
        if finished:
            break
        kills += 1
        assert not before or max(saved_steps(folder)) >= max(before)
    codes, said = trained(folder, 1, 1, *more)
    assert codes == [0], said
    assert kills == 20
    np.testing.assert_array_equal(losses(folder), losses(tmp_path / 'whole'))
    pairs = runs.load(folder).params, runs.load(tmp_path / 'whole').params
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), *pairs)


def wait_for_more(path: Path, first, lines, process):
    """Until a start has written so many lines: a resumed one drops those of steps that it does again."""
    deadline, least = time.monotonic() + WAIT, first
    while time.monotonic() < deadline and process.poll() is None:
        now = len(path.read_text().splitlines()) if path.exists() else 0
        least = min(least, now)
        if now >= least + lines:
            return
        time.sleep(0.02)
