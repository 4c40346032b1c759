"""Tuning: no trial is lost or done twice, whatever becomes of the processes, and the report says what was found."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import jax
import pytest

from diffusion_jax import samplers, schedules, times
from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from experiments.running import pool
from experiments.running.locks import claim as claim_folder
from experiments.running.locks import locked
from experiments.running.measuring import Measured
from tests import processes, tiny

pytestmark = pytest.mark.slow

optuna = pytest.importorskip('optuna')

from experiments.tune import report, study, worker  # noqa: E402
from experiments.tune.spaces import sampler as sampler_space  # noqa: E402
from experiments.tune.study import claim, left, open_study  # noqa: E402

MAIN = 'experiments.tune.__main__'
FINISHED = ['COMPLETE', 'PRUNED', 'FAIL']
COMPARED = json.dumps({'seeds': [7], 'rows': [['default', {}, [3.0]], ['best trial', {}, [2.0]]]})
SPACE = SimpleNamespace(space=lambda trial: {'x': trial.suggest_float('x', -1.0, 1.0)})


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def states(shared):
    return [trial.state.name for trial in shared.study.get_trials()]


def test_two_workers_share_the_trials(tmp_path):
    """Each has its own view of the journal, as processes have; the file's lock is what keeps them apart."""
    evaluated, lock = [], threading.Lock()

    def evaluate(trial, overrides):
        with lock:
            evaluated.append(trial.number)
        time.sleep(0.01)
        return overrides['x'] ** 2

    def run(seed):
        worker.work(open_study(tmp_path, None, seed=(seed,)), 14, SPACE, evaluate)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared = open_study(tmp_path, None)
    assert states(shared) == ['COMPLETE'] * 14
    assert sorted(evaluated) == list(range(14))
    for trial in shared.study.get_trials():
        assert trial.value == trial.params['x'] ** 2 == trial.user_attrs['overrides']['x'] ** 2


def test_one_process_at_a_time_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(study, 'PATIENCE', 0.3)
    shared = open_study(tmp_path, None)
    with locked(tmp_path / 'ask'), pytest.raises(UserError, match='in use by another process'), claim(shared, 3):
        pass
    assert states(shared) == []


def test_a_trial_left_behind_is_gone_on_with_and_given_up_the_third_time(tmp_path):
    shared, seen = open_study(tmp_path, None), []

    def dies(trial, overrides):
        seen.append((trial.number, overrides['x']))
        raise Interrupted('stopped', 143)

    for _ in range(3):
        with pytest.raises(Interrupted):
            worker.work(shared, 2, SPACE, dies)
        assert states(shared) == ['RUNNING']
    assert len(set(seen)) == 1  # the same trial with the same parameters
    worker.work(shared, 2, SPACE, lambda trial, overrides: 1.0)
    assert states(shared) == ['FAIL', 'COMPLETE']


def test_a_trial_of_a_living_process_or_of_another_host_is_left_alone(tmp_path):
    shared = open_study(tmp_path, None)
    with claim(shared, 3) as mine:
        with claim(shared, 3) as other:
            assert (mine.number, other.number) == (0, 1)
            other.set_user_attr('host', 'elsewhere')
        with claim(shared, 3) as third, claim(shared, 3) as none:
            assert third.number == 2
            assert none is None
    with claim(shared, 3) as again:
        assert again.number == 0


def test_a_trial_that_has_no_host_yet_is_nobodys(tmp_path):
    """Another host that is about to write its name; or a process that ended before, whose trial is made once more."""
    shared = open_study(tmp_path, None)
    asked = shared.study.ask()
    with claim(shared, 1) as mine, claim(shared, 1) as none:
        assert (asked.number, mine.number) == (0, 1)
        assert none is None
    worker.work(shared, 1, SPACE, lambda trial, overrides: 1.0)
    assert states(shared) == ['RUNNING', 'COMPLETE']
    assert left(shared, 1) == 0


def test_what_takes_the_place_of_a_killed_process_draws_anew(tmp_path):
    """A process that begins with the same seed would else begin with the same draws."""
    for n in (1, 2):
        worker.work(open_study(tmp_path, None, seed=(0, 1)), n, SPACE, lambda trial, overrides: 1.0)
    drawn = [trial.params['x'] for trial in open_study(tmp_path, None).study.get_trials()]
    assert drawn[0] != drawn[1]


def test_what_is_left_to_do(tmp_path):
    shared = open_study(tmp_path, None)
    with claim(shared, 3), claim(shared, 3) as other:
        other.set_user_attr('host', 'elsewhere')
        assert left(shared, 3) == 2
    worker.work(shared, 3, SPACE, lambda trial, overrides: 1.0)
    assert states(shared) == ['COMPLETE', 'RUNNING', 'COMPLETE']
    assert left(shared, 3) == left(shared, 2) == 0


def test_a_storage_that_is_not_there(tmp_path):
    for url in ('nothing', 'grpc://host:x'):
        with pytest.raises(UserError, match=f'--storage={url}: '):
            open_study(tmp_path, url)


def test_pruned_and_refused_trials(tmp_path):
    def evaluate(trial, overrides):
        if trial.number == 0:
            raise optuna.TrialPruned
        if trial.number == 1:
            raise UserError('config.x:\nno')
        return float('nan') if trial.number == 2 else 1.0

    shared = open_study(tmp_path, None)
    worker.work(shared, 4, SPACE, evaluate)
    assert states(shared) == ['PRUNED', 'FAIL', 'FAIL', 'COMPLETE']
    assert [t.user_attrs['error'] for t in shared.study.get_trials()[1:3]] == ['config.x: no', 'it measures nan']

    def bug(trial, overrides):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        worker.work(shared, 5, SPACE, bug)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A tiny finished run, and what of it was seen on the way."""
    folder, seen = tmp_path_factory.mktemp('points'), []
    config = tiny.points(steps=6)
    config['train'] |= {'sample_every': 2, 'save_every': 6}
    train(config, folder, watch=lambda run: seen.append((run.step, jax.device_get(run.params))))
    return config, folder, seen


def test_a_training_shows_itself_on_the_way(trained):
    _, folder, seen = trained
    assert [step for step, _ in seen] == [2, 4, 6]
    before, last = seen[1][1], seen[2][1]
    saved = runs.load(folder).params
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), last, saved))
    assert not jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), before, saved))


def test_a_training_is_measured_on_the_way_and_pruned(trained, tmp_path):
    """Values that rise with the step; the pruner is told those of before the end, and stops where it says so."""
    config, _, _ = trained
    shared = open_study(tmp_path, None)
    evaluate = worker.of_training(config, tmp_path, lambda run, bench: Measured({'a': run.step / 2, 'b': 9.0}, {}))
    space = SimpleNamespace(space=lambda trial: {'optim.lr': trial.suggest_float('lr', 0.01, 0.02)})
    worker.work(shared, 1, space, evaluate)
    shared.study.pruner = optuna.pruners.ThresholdPruner(upper=1.5)
    worker.work(shared, 2, space, evaluate)
    whole, pruned = shared.study.get_trials()
    assert (whole.value, whole.intermediate_values) == (3.0, {2: 1.0, 4: 2.0})
    assert pruned.state.name == 'PRUNED'
    assert pruned.intermediate_values == {2: 1.0, 4: 2.0}
    saved = json.loads((tmp_path / 'trial_0000' / 'config.json').read_text())
    assert saved['optim']['lr'] == whole.params['lr']


def test_a_finished_run_is_sampled_in_other_ways(trained):
    run = runs.load(trained[1])
    evaluate = worker.of_sampling(
        run, lambda run, bench: Measured({'a': (run.config['sample']['times']['n'], bench.seed)}, {})
    )
    assert evaluate({'sample.times.n': 7}, 3) == (7, 3)
    assert run.config['sample']['times']['n'] == 3
    with pytest.raises(UserError, match=r'optim.lr is of the training; of a finished run sample.\* can be tuned'):
        evaluate({'optim.lr': 1.0}, 0)
    with pytest.raises(UserError, match=r'config.sample.time is not a field; did you mean times'):
        evaluate({'sample.time': 1.0}, 0)


def some_of_one_kind(trial):
    """As solvers have arguments of their own."""
    own = {'y': trial.suggest_float('y', 0.0, 1.0)} if trial.number == 1 else {}
    return {'x': trial.suggest_float('x', -1.0, 1.0), **own}


OF_TWO_KINDS = SimpleNamespace(space=some_of_one_kind)


@pytest.mark.parametrize(('direction', 'order'), [('minimize', [2, 0, 1]), ('maximize', [1, 0, 2])])
def test_the_report(direction, order, tmp_path):
    shared = open_study(tmp_path, None, direction)
    values = [2.0, 3.0, 1.0]
    worker.work(shared, 3, OF_TWO_KINDS, lambda trial, overrides: values[trial.number])
    assert [trial.number for trial in report.ranked(shared.study)] == order
    rows = [report.Setting('default', {}, [4.0, 6.0]), report.Setting('best trial', {'x': 0.5}, [1.0, 2.0])]
    report.write(shared.study, tmp_path, report.Confirmed([10, 11], rows))
    text = (tmp_path / 'report.md').read_text()
    assert '3 trials: 3 complete.' in text
    assert [line.split(' | ')[0] for line in text.splitlines()[6:9]] == [f'| {n}' for n in order]
    assert "| default | 5 | 1 | 4, 6 | the run's own |" in text
    assert '| best trial | 1.5 | 0.5 | 1, 2 | x=0.5 |' in text
    for name in ('history', 'importances'):
        assert (tmp_path / f'{name}.png').stat().st_size > 5000


def test_refusals(trained, tmp_path, capsys):
    (tmp_path / 'space.py').write_text('def spce(trial):\n    return {}\n')
    given = [f'--space={tmp_path}/space.py', f'--workdir={tmp_path}/study']
    refusal = lambda *more: tiny.refusal(capsys, MAIN, *given, *more)  # noqa: E731
    assert refusal('--of=x') == f'{tmp_path}/space.py has no function space(trial)'
    (tmp_path / 'space.py').write_text('def space(trial):\n    return {}\n')
    assert refusal() == 'set either --config or --of'
    assert refusal(f'--of={tmp_path}/nothing').startswith(f'{tmp_path}/nothing holds no run')
    assert refusal('--of=x', '--test_seeds=a') == '--test_seeds=a: the form is 1000,1001'
    assert refusal('--of=x', '--test_seeds=7,0') == '--test_seeds=7,0: 0 is the seed of the trials'
    assert refusal('--of=x', '--workdir=gs://bucket/x').startswith('gs://bucket/x: this must be on this machine')
    (tmp_path / 'space.py').write_text("def space(trial):\n    return {'sample.time': 1}\n")
    told = f'space() of {tmp_path}/space.py: config.sample.time is not a field; did you mean times'
    assert refusal(f'--of={trained[1]}').startswith(told)
    assert not (tmp_path / 'study').exists()


def test_what_no_trial_can_do_is_told_before_any_is_made(trained, tmp_path):
    config, folder, _ = trained
    of_sampling, of_training = worker.check_sampling(runs.load(folder)), worker.check_training(config, tmp_path)
    for overrides, default, check, message in (
        ({'sample.times.n': 4}, {'sample.sampler.name': 'hoin'}, of_sampling, "a of file: .*name='hoin' is unknown"),
        ({'optim.lr': 0.1}, {}, of_sampling, r'space\(\) of file: optim.lr is of the training'),
        ({'optim.name': 'adem'}, {}, of_training, "config.optim.name='adem' is unknown; did you mean adam"),
    ):
        space = SimpleNamespace(space=lambda trial, o=overrides: o, DEFAULTS={'a': default}, __file__='file')
        with pytest.raises(UserError, match=message):
            worker.check_space(space, check, with_defaults=True)


@pytest.fixture
def started(monkeypatch):
    """What the processes of a study do, by their slots, in place of them; the last thing is done from then on."""
    slots, does = [], {}

    def start(command, log, environment, lock):
        slot = int(next(a for a in command if a.startswith('--slot=')).partition('=')[2])
        slots.append(slot)
        now = does[slot].pop(0) if len(does[slot]) > 1 else does[slot][0]
        return subprocess.Popen(['sh', '-c', now if type(now) is str else now() or 'exit 0'], stdin=subprocess.PIPE)

    monkeypatch.setattr(pool, 'start', start)
    return slots, does


def test_a_study_ends_when_all_of_it_is_done(trained, started, tmp_path, capsys):
    """Workers that are stopped from elsewhere, a study without a value, and a comparison that is killed."""
    slots, does = started
    (tmp_path / 'space.py').write_text(
        "def space(trial):\n    return {'sample.times.n': trial.suggest_int('n', 2, 9)}\n"
    )
    folder = tmp_path / 'study'
    command = [f'--of={trained[1]}', f'--space={tmp_path}/space.py', f'--workdir={folder}', '--test_seeds=7']

    def works(trials, value):
        return lambda: worker.work(open_study(folder, None), trials, SPACE, lambda *_: value)

    def compares():
        best = report.ranked(open_study(folder, None).study)[0].user_attrs['overrides']
        rows = [['default', {}, [3.0]], ['best trial', best, [2.0]]]
        (folder / 'confirmed.json').write_text(json.dumps({'seeds': [7], 'rows': rows}))

    does.update({0: ['exit 143', works(2, float('nan')), works(3, 2.0), 'kill -9 $$'], -1: ['kill -9 $$', compares]})
    assert '2 of 2 trials are not done' in tiny.refusal(capsys, MAIN, *command, '--trials=2')
    assert 'no trial came to its end with a value' in tiny.refusal(capsys, MAIN, *command, '--trials=2')
    assert slots == [0, 0]
    assert tiny.call(MAIN, *command, '--trials=3') == 0
    assert slots == [0, 0, 0, -1, -1]
    assert '| best trial | 2 |' in (folder / 'report.md').read_text()
    capsys.readouterr()
    assert tiny.call(MAIN, *command, '--trials=3') == 0
    assert slots == [0, 0, 0, -1, -1]
    assert capsys.readouterr().out.startswith('nothing to do: the study has its 3 trials')
    (tmp_path / 'space.py').write_text(
        "def space(trial):\n    return {'sample.times.n': trial.suggest_int('n', 2, 5)}\n"
    )
    assert f'{folder} holds a study of something else (space: ' in tiny.refusal(capsys, MAIN, *command, '--trials=4')


def test_a_second_command_has_processes_of_its_own_and_waits_for_the_first(trained, started, tmp_path):
    """Its own find all trials taken; the other's process, here one of `claim`, makes the last of them meanwhile."""
    slots, does = started
    (tmp_path / 'space.py').write_text('def space(trial):\n    return {}\n')
    folder, other = tmp_path / 'study', claim_folder(tmp_path / 'study' / 'process_0')

    def last():
        time.sleep(0.5)
        worker.work(open_study(folder, None), 1, SPACE, lambda *_: 1.0)
        other.close()

    thread = threading.Thread(target=last)

    def compares():
        (folder / 'confirmed.json').write_text(COMPARED)

    does.update({1: [thread.start], -1: [compares]})
    command = [f'--of={trained[1]}', f'--space={tmp_path}/space.py', f'--workdir={folder}', '--test_seeds=7']
    assert tiny.call(MAIN, *command, '--trials=1') == 0
    thread.join()
    assert slots == [1, -1]
    assert states(open_study(folder, None)) == ['COMPLETE']


def test_all_samplers_of_the_space_take_as_many_evaluations():
    calls, own = [], {'ddim': {'eta': 0.5}, 'edm_churn': {'S_churn': 1.0}}

    def denoise(x_t, t):
        calls.append(1)
        return x_t / 2

    for name in ('heun', 'edm_churn', 'ddim', 'dpm_solver_pp', 'unipc', 'deis'):
        given = {'solver': name, 'rho': 7.0, 'sigma_min': 0.01, 'sigma_max': 80.0, **own.get(name, {})}
        overrides = sampler_space.chosen(optuna.trial.FixedTrial(given), 5)
        spec, n = dict(overrides['sample.sampler']), overrides['sample.times']['n']
        spec |= {'n': n} if name == 'edm_churn' else {}
        calls.clear()
        with jax.disable_jit():
            sampler = getattr(samplers, spec.pop('name'))(denoise, schedules.VE(), **spec)
            samplers.sample(sampler, jax.random.key(0), jax.numpy.ones((1, 2)), times.karras(n))
        assert len(calls) == 5, name


def test_two_processes_one_of_them_killed(trained, tmp_path):
    """Ten trials; a process is killed by SIGKILL, then the whole study; started again it ends with ten, none twice."""
    (tmp_path / 'space.py').write_text(
        'import time\n\nfrom experiments.tune import Measured\n\n'
        'def space(trial):\n'
        "    return {'sample.times.n': trial.suggest_int('n', 2, 9)}\n\n"
        'def measure(run, bench):\n'
        '    time.sleep(0.5)\n'
        "    return Measured({'n': run.config['sample']['times']['n'] + bench.seed / 1000}, {})\n"
    )
    folder = tmp_path / 'study'
    command = [sys.executable, '-m', 'experiments.tune', f'--of={trained[1]}', f'--space={tmp_path}/space.py']
    command += [f'--workdir={folder}', '--trials=10', '--workers=2', '--test_seeds=7']
    settings = {'cwd': processes.ROOT, 'env': processes.environment(1)}
    first = subprocess.Popen(command, **settings)

    def finished():
        return sum(s in FINISHED for s in states(open_study(folder, None))) if (folder / 'journal.log').exists() else 0

    def wait_for(n):
        until = time.monotonic() + 600
        while finished() < n and time.monotonic() < until:
            time.sleep(0.1)

    wait_for(2)
    child = subprocess.check_output(['pgrep', '-P', str(first.pid)], text=True).split()[0]
    os.kill(int(child), signal.SIGKILL)
    wait_for(4)
    first.kill()
    first.wait()
    assert finished() < 10
    subprocess.run(command, **settings, check=True, timeout=900)
    # One that was asked for when its process ended, and has no host, is nobody's.
    trials = [trial for trial in open_study(folder, None).study.get_trials() if 'host' in trial.user_attrs]
    assert [trial.state.name for trial in trials] == ['COMPLETE'] * 10
    assert all(trial.value == trial.params['n'] for trial in trials)
    best = min(trial.value for trial in trials)
    assert json.loads((folder / 'confirmed.json').read_text())['rows'][1][2] == [best + 0.007]
