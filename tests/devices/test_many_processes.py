"""Real processes: several of them as one program, their faults, and kills at any moment."""

import json
import random
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from configs import quickstart
from diffusion_jax import builders
from diffusion_jax.evaluation import classifier
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from diffusion_jax.training.watchdog import STALLED
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
    np.testing.assert_allclose(losses(tmp_path), alone[0], rtol=0, atol=1e-6)
    params = runs.load(tmp_path).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, alone[1])
    assert (tmp_path / 'samples' / 'step_00000020.png').exists()
    for process in (0, 1):
        assert len(list(tmp_path.glob(f'profile/process_{process}/plugins/profile/*/*.xplane.pb'))) == 1


def test_a_run_goes_on_on_other_numbers_of_hosts_and_devices(alone, tmp_path):
    """Two hosts of four devices, one of eight, one of one, and two again: batches and curve of one device all along."""
    folder, indices = tmp_path / 'run', tmp_path / 'indices'
    indices.mkdir()
    for steps, n, devices, fsdp in [(5, 2, 4, 2), (10, 1, 8, 8), (15, 1, 1, 1), (20, 2, 4, 4)]:
        more = [f'--config.train.steps={steps}', f'--config.mesh.fsdp={fsdp}', '--allow_config_change']
        codes, said = trained(folder, n, devices, *more, module='tests.faulty', INDICES=str(indices))
        assert codes == [0] * n, said
    np.testing.assert_allclose(losses(folder), alone[0], rtol=0, atol=1e-6)
    params = runs.load(folder).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), params, alone[1])
    epochs = np.concatenate([np.random.default_rng([0, epoch]).permutation(256) for epoch in (0, 1)])
    read = {k: {file.stem for file in indices.glob(f'{k}_*.npy')} for k in range(20)}
    for k, n in [(4, 2), (9, 1), (14, 1), (19, 2)]:  # the last steps of each
        assert {f'{k}_{i}_{n}' for i in range(n)} <= read[k]
    for k, names in read.items():
        for name in names:
            _, i, n = map(int, name.split('_'))
            rows = np.load(indices / f'{name}.npy')
            np.testing.assert_array_equal(rows, epochs[16 * k :][i * 16 // n : (i + 1) * 16 // n])


def test_two_processes_keep_and_put_together_averages_as_one(tmp_path):
    """The second of two starts finds snapshots of later steps than its checkpoint, and makes them again."""
    more, found = ['--config.train.ema_every=5'], []
    for n, devices, fsdp in [(1, 1, 1), (2, 2, 2)]:
        folder = tmp_path / f'{n}'
        for steps in (15, 20):
            changes = [f'--config.train.steps={steps}', f'--config.mesh.fsdp={fsdp}', '--allow_config_change']
            codes, said = trained(folder, n, devices, *more, *changes)
            assert codes == [0] * n, said
            if steps == 15:
                shutil.rmtree(folder / 'checkpoints' / '15')
        assert sorted(int(path.name) for path in (folder / 'ema_snapshots').iterdir()) == [5, 10, 15, 20]
        out = tmp_path / f'samples of {n}'
        arguments = [f'--workdir={folder}', '--num=11', '--ema=0.07', f'--out={out}']
        codes, said = processes.finish(processes.start('diffusion_jax.sample', arguments, n, devices), WAIT)
        assert codes == [0] * n, said
        found.append((runs.load(folder, sigma_rel=0.07).params, np.load(f'{out}.npz')['samples']))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *found)


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


def test_two_processes_evaluate_as_one(tmp_path):
    """In a network's features, of samples that do not divide over the devices, and in bits/dim.

    The third evaluation finds the reference that the second kept, on both processes.
    """
    config, file, metrics = builders.resolve(quickstart.get_config('runlocal')), tmp_path / 'classifier.npz', []
    train({**config, 'train': {**config['train'], 'steps': 1, 'sample_every': 0}}, tmp_path / 'run')
    classifier.save(
        file,
        classifier.fit(builders.build_source({**config['data'], 'condition': 'label'}), jax.random.key(0), steps=5),
    )
    arguments = [f'--workdir={tmp_path / "run"}', f'--features=classifier:path={file}', '--num=11', '--bits_num=8']
    for n, devices in [(1, 1), (2, 2), (2, 2)]:
        home = tmp_path / f'home of {n}'
        job = processes.start('diffusion_jax.evaluate', [*arguments, '--steps=2'], n, devices, HOME=str(home))
        codes, said = processes.finish(job, WAIT)
        assert codes == [0] * n, said
        metrics.append(json.loads((tmp_path / 'run' / 'metrics.json').read_text()))
    flat = [jax.tree.leaves(m) for m in metrics]
    assert len(flat[0]) > 20
    numbers = [np.array([v for v in leaves if isinstance(v, float)]) for leaves in flat]
    np.testing.assert_allclose(*numbers[:2], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(*numbers[1:])
    assert len([*home.rglob('diffusion_jax_references/*.npz')]) == 1


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
    np.testing.assert_allclose(losses(tmp_path)[:20], alone[0][: min(20, step)], rtol=0, atol=1e-6)


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
    codes, said = trained(tmp_path, 2, 1, '--heartbeat=10', module='tests.faulty', FAULT='raise:12')
    assert time.time() - fault_in(said) < 60
    assert 0 not in codes, said
    assert 'RuntimeError: the disk of this host is gone' in said[1]
    assert codes[1] == 1
    assert saved_steps(tmp_path) == [10]


def fault_in(said):
    """The time of it."""
    (found,) = (line for text in said for line in text.splitlines() if line.startswith('fault at '))
    return float(found.removeprefix('fault at '))


def test_a_hanging_input_ends_the_job(tmp_path):
    more = ['--config.train.watchdog=15.0', '--heartbeat=10']
    codes, said = trained(tmp_path, 2, 1, *more, module='tests.faulty', FAULT='hang:12')
    assert time.time() - fault_in(said) < 60
    assert STALLED in codes, (codes, said)
    assert 0 not in codes
    assert 'no step was finished for 15 s' in ''.join(said)
    assert any('faulty.py' in text and 'in faulty' in text for text in said), said  # the stack that hangs
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


def test_hosts_that_do_not_share_the_folder_are_told(tmp_path):
    job = processes.start('diffusion_jax.train', arguments(tmp_path / '{process}'), 2, 1)
    codes, said = processes.finish(job, WAIT)
    assert codes[1] == 2
    assert 0 not in codes
    assert f'{tmp_path}/1 is not the same folder on all hosts: use a shared file system' in said[1]
    assert not saved_steps(tmp_path / '0')


def test_twenty_kills_change_nothing(tmp_path):
    """At random moments within steps, saves and the drawing of pictures, which evaluates the average."""
    more = ['--config.train.steps=400', '--config.train.save_every=7', '--config.train.sample_every=20']
    codes, said = trained(tmp_path / 'whole', 1, 1, *more)
    assert codes == [0], said
    rng, folder, before, unfinished = random.Random(0), tmp_path / 'killed', 0, 0
    for i in range(20):
        kind, step = ('step', 'save', 'draw')[i % 3], before + rng.randrange(1, 10)
        fault = f'{kind}:{step}:{rng.uniform(0, 0.1):.3f}'
        codes, said = trained(folder, 1, 1, *more, module='tests.faulty', FAULT=fault)
        assert codes == [-signal.SIGKILL], (fault, said)
        unfinished += any('tmp' in path.name for path in (folder / 'checkpoints').iterdir())
        saved = saved_steps(folder)
        assert not before or max(saved) >= before
        before = max(saved, default=0)
    assert unfinished > 0  # else none came into a save
    codes, said = trained(folder, 1, 1, *more)
    assert codes == [0], said
    np.testing.assert_array_equal(losses(folder), losses(tmp_path / 'whole'))
    pairs = runs.load(folder).params, runs.load(tmp_path / 'whole').params
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), *pairs)
