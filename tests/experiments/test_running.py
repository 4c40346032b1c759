"""What papers, sweeps and tuning share: no run is lost, made twice or taken along by another; results are kept."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.errors import Diverged, UserError
from diffusion_jax.workdir import files
from experiments.running import measuring, pool, training
from experiments.running.locks import claim, locked
from experiments.running.measuring import Measured
from experiments.running.queue import Queue
from experiments.running.training import State, Training, is_measured, is_trained, make, note, state_of
from tests import processes, tiny


def shell(text):
    return subprocess.Popen(['sh', '-c', text], stdin=subprocess.PIPE)


def test_processes_do_not_take_each_other_along(tmp_path):
    """Six jobs, two at a time; one fails, one is killed."""
    texts = ['exit 0', 'exit 3', 'kill -9 $$', 'sleep 0.3', 'sleep 0.3', 'exit 0']
    at_once, codes, slots = [], {}, set()

    def start(i, slot):
        assert slot not in slots
        slots.add(slot)
        at_once.append(len(slots))
        processes_by_slot[i] = slot
        return shell(texts[i])

    def ended(i, code):
        slots.remove(processes_by_slot[i])
        assert i not in codes
        codes[i] = code

    processes_by_slot = {}
    assert pool.run_all(deque(range(6)), 2, start, ended) == 0
    assert codes == {0: 0, 1: 3, 2: -9, 3: 0, 4: 0, 5: 0}
    assert max(at_once) == 2


def test_a_stop_is_passed_on():
    """The first of three jobs stops its parent; the second is told to save, the third never starts."""
    me, codes = os.getpid(), {}
    texts = [
        f'sleep 0.3; kill -TERM {me}; sleep 0.1',
        "trap 'exit 143' TERM; for i in $(seq 200); do sleep 0.05; done",
        'exit 0',
    ]
    assert pool.run_all(deque(range(3)), 2, lambda i, _: shell(texts[i]), codes.__setitem__) == signal.SIGTERM
    assert codes.keys() == {0, 1}
    assert codes[1] == 143


def test_devices_are_shared_out(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,6,7')
    assert [pool.devices_of(slot, 2)['CUDA_VISIBLE_DEVICES'] for slot in range(2)] == ['4,5', '6,7']
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    assert pool.devices_of(0, 2) == {}


def run(tmp_path, name, start=None):
    return Training(name, {'init_from': start and str(tmp_path / start)}, tmp_path / name)


def test_a_locked_folder_stays_with_the_process_that_was_started_for_it(tmp_path):
    """Whatever becomes of the one that started it; a lock of `locked` is the same lock."""
    lock = claim(tmp_path / 'a')
    child = pool.start(['sh', '-c', 'read line'], tmp_path / 'log.txt', {}, lock)
    lock.close()
    assert claim(tmp_path / 'a') is None
    with pytest.raises(UserError, match='a is in use by another process'), locked(tmp_path / 'a'):
        pass
    with claim(tmp_path / 'b'):
        pass
    child.communicate(b'end\n')
    with locked(tmp_path / 'a'):
        assert claim(tmp_path / 'a') is None
    with claim(tmp_path / 'a'):
        pass


def test_teachers_come_first_and_what_another_process_is_at_is_left_to_it(tmp_path):
    student, teacher, other, done = trainings = [
        run(tmp_path, 'student', 'teacher'), run(tmp_path, 'teacher'), run(tmp_path, 'other'), run(tmp_path, 'done')
    ]  # fmt: skip
    note(done, State(done=True))
    with locked(other.workdir):
        queue = Queue(trainings, is_trained)
        assert queue.take(queue.waiting) == 1
        assert queue.take(queue.waiting) is None
        assert [*queue.waiting] == [0, 2]
        note(teacher, State(done=True))
        note(other, State(done=True))  # by the process that had it
        queue.give_back(1)
        assert queue.take(queue.waiting) == 0
    assert queue.take(queue.waiting) is None
    assert not queue.waiting
    queue.give_back(0)
    assert [trainings[i] for i in queue.failed] == [student]


def test_what_starts_from_a_run_that_failed_is_left_out(tmp_path):
    trainings = [run(tmp_path, 'teacher'), run(tmp_path, 'student', 'teacher'), run(tmp_path, 'last', 'student')]
    queue = Queue(trainings, is_trained)
    assert queue.take(queue.waiting) == 0
    queue.give_back(0)
    assert queue.take(queue.waiting) is None
    assert not queue.waiting
    assert queue.failed == [0]


SHARES = """
import sys
from pathlib import Path
from experiments.running.queue import make_all
from experiments.running.training import Training, is_trained
folder = Path(sys.argv[1])
runs = [Training(f'{i}', {'init_from': None}, folder / f'{i}') for i in range(8)]
text = "import json, sys, time; time.sleep(0.5); json.dump({'done': True}, open(sys.argv[1], 'w'))"
(folder / f'ready_{sys.argv[2]}').touch()
while len(list(folder.glob('ready_*'))) < 2:
    continue
print(make_all(runs, is_trained, 1, lambda i: ['-c', text, str(folder / f'{i}' / 'training.json')]))
"""


@pytest.mark.slow
def test_two_commands_share_the_runs(tmp_path):
    command = [sys.executable, '-c', SHARES, str(tmp_path)]
    settings = {'cwd': processes.ROOT, 'env': processes.environment(1), 'stdout': subprocess.PIPE, 'text': True}
    both = [subprocess.Popen([*command, name], **settings) for name in 'ab']
    said = [process.communicate(timeout=120)[0].splitlines() for process in both]
    started = [{line.partition(':')[0] for line in lines if ': started' in line} for lines in said]
    assert started[0] | started[1] == {f'{i}' for i in range(8)}
    assert not started[0] & started[1]
    assert min(map(len, started)) > 1
    assert [lines[-1] for lines in said] == [f'({len(mine)}, [], 0)' for mine in started]


def test_a_measurement_is_kept(tmp_path):
    """With what is shown of it; that there is none because the samples diverge as well."""
    path, calls = tmp_path / 'new' / 'x.json', []

    def measure():
        calls.append(1)
        return Measured({'a': 1.5}, {'n': 4}, {'a': 'A'}, {'a': 0.5}, np.arange(6.0).reshape(2, 3))

    first = measuring.kept(path, measure, {'more': 3})
    again = measuring.kept(path, measure)
    assert calls == [1]
    assert json.loads(path.read_text())['more'] == 3
    assert again._replace(shown=first.shown) == first
    np.testing.assert_array_equal(again.shown, np.arange(6.0).reshape(2, 3))

    def diverges():
        calls.append(2)
        raise Diverged('NaN')

    for _ in range(2):
        found = measuring.kept(tmp_path / 'y.json', diverges)
        assert (found.values, found.diverged) == ({}, 'NaN')
    assert calls == [1, 2]


def test_runs_of_the_same_data_share_a_reference(monkeypatch):
    """It is read when it is asked for, and once for each data set, feature space and split."""
    read = []
    monkeypatch.setattr(
        measuring.runs, 'reference', lambda run, held_out, spec: read.append(run.config['data']) or spec
    )
    settings = {'features': {'name': 'pca', 'n': 2}, 'reference': 'train', 'held_out': None, 'num': 30}
    a, b = (SimpleNamespace(config={'data': name, 'eval': settings}) for name in 'ab')
    bench_of = measuring.benches()
    found = [bench_of(a, 0), bench_of(b, 0), bench_of(a, 7)]
    assert read == []
    assert [bench.reference() for bench in found] == 3 * [settings['features']]
    assert read == ['a', 'b']
    assert [bench[2:] for bench in found] == [('pca-n=2', 30, 0), ('pca-n=2', 30, 0), ('pca-n=2', 30, 7)]
    assert measuring.benches(5, {'name': 'pixels'})(a, 0)[2:] == ('pixels', 5, 0)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A run whose training does what the test has in `does`, and which opens as nothing but its config."""
    does = [lambda: None]
    monkeypatch.setattr(training, 'train', lambda config, workdir: does[0]())
    monkeypatch.setattr(measuring, 'opened', lambda workdir: SimpleNamespace(config=tiny.points()))
    return Training('small', tiny.points(), tmp_path / 'small', {'seed': 1}), does


def raises(error):
    def do(*_):
        raise error

    return do


def test_a_run_that_fails_says_why_and_is_tried_again(small):
    run, does = small
    does[0] = raises(UserError('no\nspace'))
    with pytest.raises(UserError):
        make(run)
    assert (state_of(run.workdir).error, is_trained(run)) == ('no space', False)
    does[0] = lambda: None
    with pytest.raises(ValueError, match='no such'):
        make(run, raises(ValueError('no such\nthing')))
    assert state_of(run.workdir).error == 'ValueError: no such thing'
    assert (is_trained(run), is_measured(run)) == (True, False)
    does[0] = raises(AssertionError('trained again'))
    make(run, lambda run, bench: Measured({'a': float(bench.num)}, {}))
    assert state_of(run.workdir).error is None
    assert is_measured(run)
    saved = json.loads((run.workdir / 'result.json').read_text())
    assert (saved['values'], saved['overrides']) == ({'a': tiny.points()['eval']['num']}, {'seed': 1})
    make(run, raises(AssertionError('measured again')))


def test_that_a_run_diverges_is_a_result(small):
    run, does = small
    does[0] = raises(Diverged('step 3: NaN'))
    state = make(run, raises(AssertionError('there is nothing to measure')))
    assert (state.done, state.diverged) == (True, 'step 3: NaN')
    assert is_measured(run)
    does[0] = raises(AssertionError('trained again'))
    assert make(run) == state


def test_the_seconds_of_a_stopped_training_count(small):
    run, does = small

    def works():
        until = time.process_time() + 0.2
        while time.process_time() < until:
            continue

    def stopped():
        works()
        raise KeyboardInterrupt

    does[0] = stopped
    with pytest.raises(KeyboardInterrupt):
        make(run)
    does[0] = works
    assert 0.4 <= make(run).seconds < 1


def test_another_config_in_the_same_workdir(tmp_path):
    config = builders.with_teacher(tiny.points(), tmp_path)
    run = Training('run', config, tmp_path)
    files.write_json(tmp_path / 'config.json', {'format': files.FORMAT, **config})
    Queue([run], is_trained)
    other = run._replace(config={**config, 'optim': {**config['optim'], 'lr': 0.5}})
    for refuses in (lambda: Queue([other], is_trained), lambda: make(other)):
        with pytest.raises(UserError, match=r'holds a run of another config \(optim.lr: 0.001 -> 0.5\)'):
            refuses()
    assert not (tmp_path / 'training.json').exists()
