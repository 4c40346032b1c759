"""Sweeps: what they go through, that no run is lost, done twice or lost with another, and their table."""

import csv
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from diffusion_jax import builders
from diffusion_jax.errors import UserError
from experiments import sweep
from experiments.running import measuring, pool, training
from experiments.running.locks import locked
from experiments.sweep import plan, table
from tests import processes, tiny
from tests.experiments.test_running import shell
from tests.workdir import test_paths

MAIN = 'experiments.sweep.__main__'
store = test_paths.store
CONFIG = """
from configs import toy2d

def get_config(arg=''):
    config = toy2d.get_config('runlocal')
    config.data.n = 64
    config.net.width, config.net.depth = 8, 1
    config.train.update(steps=4, sample_every=0)
    config.sample.times.n = 3
    config.mesh.data = 1
    return config
"""
SWEEP = """
from experiments.sweep import grid

def sweep():
    return grid(**{'optim.lr': [0.001, 0.01], 'seed': range(3)})
"""


MEASURE = """
def measure(run, bench):
    return Measured({'a': 1.0}, {})
"""


@pytest.fixture
def files(tmp_path):
    """The flags of a sweep of six tiny runs."""
    (tmp_path / 'config.py').write_text(CONFIG)
    (tmp_path / 'sweep.py').write_text(SWEEP)
    return [f'--config={tmp_path}/config.py', f'--sweep={tmp_path}/sweep.py', f'--workdir={tmp_path}/runs']


def test_generators():
    lr, eta = {'lr': [1, 2]}, {'eta': [0.0, 0.5, 1.0]}
    assert sweep.grid(**lr, **eta) == [{'lr': a, 'eta': b} for a in lr['lr'] for b in eta['eta']]
    assert sweep.product(sweep.grid(**lr), sweep.grid(**eta)) == sweep.grid(**lr, **eta)
    assert sweep.zipped(**lr, steps=[10, 20]) == [{'lr': 1, 'steps': 10}, {'lr': 2, 'steps': 20}]
    assert sweep.product([{'lr': 1}], [{'lr': 2}]) == [{'lr': 2}]
    with pytest.raises(ValueError, match='longer'):
        sweep.zipped(**lr, **eta)


def test_random_draws_have_their_distributions_and_a_longer_list_begins_with_the_shorter():
    field = {'a': sweep.log_uniform(1e-4, 1e-1), 'b': sweep.uniform(2.0, 3.0), 'c': sweep.choice('xyz')}
    draws = sweep.random(600, 0, **field)
    assert draws[:10] == sweep.random(10, 0, **field)
    assert draws[:10] != sweep.random(10, 1, **field)
    assert stats.kstest([np.log10(d['a']) for d in draws], stats.uniform(-4, 3).cdf).pvalue > 1e-3
    assert stats.kstest([d['b'] for d in draws], stats.uniform(2, 1).cdf).pvalue > 1e-3
    assert abs(np.corrcoef([np.log(d['a']) for d in draws], [d['b'] for d in draws])[0, 1]) < 0.15
    assert stats.chisquare([sum(d['c'] == v for d in draws) for v in 'xyz']).pvalue > 1e-3


def test_overrides():
    config = tiny.points()
    changed = builders.override(
        config, {'optim.lr': 1.0, 'sample.sampler': {'name': 'ddim'}, 'sample.sampler.eta': 0.5, 'objective.p_t.n': 3}
    )
    assert changed['optim'] == {**config['optim'], 'lr': 1.0}
    assert changed['sample']['sampler'] == {'name': 'ddim', 'eta': 0.5}
    assert changed['objective']['p_t'] == {**config['objective']['p_t'], 'n': 3}
    assert changed['sample']['times'] == config['sample']['times']
    assert config == tiny.points()


@pytest.mark.parametrize(
    ('field', 'message'),
    [
        ('optim.lrr', 'run 0 of the sweep: config.optim.lrr is not an argument of adam; did you mean lr'),
        ('optm.lr', 'run 0 of the sweep: config.optm is not a field; did you mean optim or second_optim?'),
        ('train.step', 'run 0 of the sweep: config.train.step is not a field; did you mean steps'),
        ('seed.x', 'run 0 of the sweep: config.seed.x is not a field: config.seed has no fields'),
        ('net.widht', 'run 0 of the sweep: config.net.widht is not an argument of MLP; did you mean width?'),
        ('sample.sampler.eta', 'run 0 of the sweep: config.sample.sampler.eta is not an argument of ancestral'),
    ],
)
def test_an_unknown_field_is_told_before_anything_runs(field, message, files, tmp_path, capsys):
    (tmp_path / 'sweep.py').write_text(f"def sweep():\n    return [{{'{field}': 1.0}}, {{}}]\n")
    assert tiny.refusal(capsys, MAIN, *files).startswith(message)
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = 1', 'has no function sweep()'),
        ('def sweep():\n    return []', 'gives no runs'),
        ('def sweep():\n    [{}]', 'gives no runs'),
        ('def sweep():\n    return [{}, 3]', "gives 3: a run is a dict such as {'optim.lr': 1e-4}"),
        ('def sweep():\n    return [{"seed": range(3)}]', 'range(0, 3) is no number, text, list or spec'),
        (None, 'there is no file'),
    ],
)
def test_files_that_are_no_sweep(text, message, files, tmp_path, capsys):
    (tmp_path / 'sweep.py').unlink()
    if text:
        (tmp_path / 'sweep.py').write_text(text)
    assert message in tiny.refusal(capsys, MAIN, *files)
    assert message in tiny.refusal(capsys, MAIN, *files[1:]) or text


def test_no_config(files, tmp_path, capsys):
    assert tiny.refusal(capsys, MAIN, *files[1:]) == f'set --config, or CONFIG in {tmp_path}/sweep.py'


def test_a_run_keeps_its_folder_and_is_there_once(tmp_path):
    config, (a, b) = tiny.points(), ({'optim.lr': 0.1}, {'sample.sampler': {'name': 'ddim', 'eta': 0.5}})
    before = plan.trainings(config, [a, b], tmp_path)
    assert [run.name.rpartition('-')[0] for run in before] == ['000-lr=0.1', '001-sampler=ddim_eta=0.5_'[:-1]]
    for run in before:
        run.workdir.mkdir()
    after = plan.trainings(config, [{'seed': 1}, b, a], tmp_path)
    assert [run.workdir for run in after[1:]] == [before[1].workdir, before[0].workdir]
    assert len({run.workdir for run in after}) == 3

    (tmp_path / 'sweep.py').write_text(
        'import numpy as np\ndef sweep():\n    return [{"seed": s} for s in [*np.arange(3), 1, 0]]\n'
    )
    assert plan.load_sweep(f'{tmp_path}/sweep.py').overrides == [{'seed': s} for s in range(3)]


@pytest.fixture
def started(monkeypatch):
    """Stands in for the processes of a sweep: the indices that were started; `how` says what the next ones do."""
    indices, how = [], {}

    def start(command, log, environment, lock):
        index = int(next(a for a in command if a.startswith('--index=')).partition('=')[2])
        indices.append(index)
        content = json.dumps({'values': {'distance': index / 2, 'other': 1.0}, 'protocol': {'n': 4}})
        return shell(how.get(index, f'echo {shlex.quote(content)} > {shlex.quote(str(log.parent))}/result.json'))

    monkeypatch.setattr(pool, 'start', start)
    monkeypatch.setattr(plan, 'check_build', lambda i, run: None)  # seconds
    return indices, how


def test_runs_what_is_not_done_and_every_run_is_one_row(files, tmp_path, started, capsys):
    indices, how = started
    how.update({1: 'exit 1', 4: 'kill -9 $$'})
    assert tiny.call(MAIN, *files, '--workers=2') == 2
    assert '2 of 6 runs are not done' in capsys.readouterr().err
    rows = read_csv(tmp_path)
    assert [row['state'] for row in rows] == ['done', 'failed', 'done', 'done', 'failed', 'done']
    assert rows[4]['error'].startswith('ended with code -9, see ')
    assert [(float(row['optim.lr']), int(row['seed'])) for row in rows] == [
        (a, b) for a in (0.001, 0.01) for b in range(3)
    ]
    how.clear()
    assert tiny.call(MAIN, *files) == 0
    assert indices == [0, 1, 2, 3, 4, 5, 1, 4]
    assert [float(row['distance']) for row in read_csv(tmp_path)] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert tiny.call(MAIN, *files) == 0
    assert indices == [0, 1, 2, 3, 4, 5, 1, 4]
    assert 'nothing to do, all 6 were done before' in capsys.readouterr().out
    lines = (tmp_path / 'runs' / 'results.md').read_text().splitlines()
    assert lines[0] == '|  | optim.lr | seed | distance | other |'
    assert lines[7] == '| 5 | 0.01 | 2 | 2.5 | 1 |'
    assert lines[9] == 'Protocol: n = 4.'
    assert (tmp_path / 'runs' / 'results.png').stat().st_size > 5000


def read_csv(tmp_path):
    return list(csv.DictReader((tmp_path / 'runs' / 'results.csv').read_text().splitlines()))


def row(index, overrides, values, protocol, error=None):
    return table.Row(overrides, f'{index:03d}', values, protocol, error=error)


def test_numbers_of_different_protocols_stand_in_different_tables():
    made = [
        row(0, {'lr': 0.1}, {'a': 1.0}, {'n': 10}),
        row(1, {'lr': 0.2}, {'a': 2.0, 'b': 3.0}, {'n': 20}),
        row(2, {'lr': 0.3}, {}, {}, 'a | b'),
        row(3, {'lr': 0.4, 'eta': 0.0}, {'a': 4.0}, {'n': 10}),
    ]
    first, second = table.to_markdown(made).split('Protocol: n = 10.')
    assert first.splitlines()[2:5] == ['| 0 | 0.1 |  | 1 |', '| 2 | 0.3 |  | failed: a / b |', '| 3 | 0.4 | 0 | 4 |']
    assert second.splitlines()[2:5] == ['|  | lr | eta | a | b |', '|---|---|---|---|---|', '| 1 | 0.2 |  | 2 | 3 |']
    figure = table.draw(made)
    assert [axes.get_xlabel() for axes in figure.axes] == ['lr', 'eta']
    assert sorted(len(line.get_xdata()) for line in figure.axes[0].lines) == [1, 1, 1]


@pytest.mark.slow
def test_one_run_is_trained_and_measured_in_this_process(files, tmp_path, capsys):
    assert tiny.call(MAIN, *files, '--index=4') == 0
    states = [row['state'] for row in read_csv(tmp_path)]
    assert states == ['unfinished'] * 4 + ['done', 'unfinished']
    (folder,) = (tmp_path / 'runs').glob('004-*')
    saved = json.loads((folder / 'result.json').read_text())
    assert saved['overrides'] == {'optim.lr': 0.01, 'seed': 1}
    assert saved['protocol']['n'] == 64
    config = json.loads((folder / 'config.json').read_text())
    assert (config['optim']['lr'], config['seed'], config['train']['steps']) == (0.01, 1, 4)
    # It is what `evaluate` says of the run.
    assert tiny.call('evaluate', f'--workdir={folder}') == 0
    (evaluated,) = json.loads((folder / 'metrics.json').read_text()).values()
    assert evaluated['values'] == saved['values']
    before = (folder / 'result.json').stat().st_mtime_ns
    assert tiny.call(MAIN, *files, '--index=4') == 0
    assert (folder / 'result.json').stat().st_mtime_ns == before
    assert 'the runs 0 to 5' in tiny.refusal(capsys, MAIN, *files, '--index=6')


def test_one_process_at_a_time_writes_the_table(tmp_path, monkeypatch):
    """The runs of an array end when they like."""
    monkeypatch.setattr(table, 'PATIENCE', 0.3)
    with locked(tmp_path / 'results'), pytest.raises(UserError, match='in use by another process'):
        table.write(tmp_path, [])
    assert table.write(tmp_path, []) == []


def test_a_sweep_in_a_bucket(files, tmp_path, store, monkeypatch, capsys):
    """Runs of a job of their own, which write there, and processes that are started here, whose logs cannot."""
    (tmp_path / 'sweep.py').write_text(SWEEP.replace('import grid', 'import Measured, grid') + MEASURE)
    monkeypatch.chdir(tmp_path)
    trained = []
    monkeypatch.setattr(training, 'train', lambda config, workdir: trained.append(str(workdir)))
    monkeypatch.setattr(measuring, 'opened', lambda workdir: SimpleNamespace(config=tiny.points()))
    for _ in range(2):
        assert tiny.call(MAIN, *files[:2], '--workdir=gs://bucket/runs', '--index=1') == 0
    assert trained == ['gs://bucket/runs/001-lr=0.001,seed=1-' + trained[0][-8:]]
    written = {name.removeprefix('/bucket/runs/') for name in store}
    assert written >= {'results.csv', 'results.md', 'results.png', f'{trained[0][17:]}/result.json'}
    monkeypatch.setattr(pool, 'start', lambda command, log, *_: shell(f'echo no > "{log}"; exit 1'))
    monkeypatch.setattr(plan, 'check_build', lambda i, run: None)
    assert tiny.call(MAIN, *files[:2], '--workdir=gs://bucket/runs') == 2
    assert '5 of 6 runs are not done' in capsys.readouterr().err
    rows = list(csv.DictReader(store['/bucket/runs/results.csv'].getvalue().decode().splitlines()))
    assert [row['state'] for row in rows] == ['failed', 'done', *4 * ['failed']]
    assert Path(rows[0]['error'].partition('see ')[2]).read_text() == 'no\n'
    assert not (tmp_path / 'gs:').exists()


@pytest.mark.slow
def test_a_sweep_killed_half_way_goes_on_and_does_no_run_twice(files, tmp_path):
    """12 runs, the sweep itself killed by SIGKILL when three are done: its processes end too, and nothing is lost."""
    (tmp_path / 'sweep.py').write_text(SWEEP.replace('range(3)', 'range(6)'))
    command = [sys.executable, '-m', 'experiments.sweep', *files, '--workers=2']
    settings = {'cwd': processes.ROOT, 'env': processes.environment(1)}
    first = subprocess.Popen(command, **settings)
    runs = tmp_path / 'runs'
    until = time.monotonic() + 900
    while len(list(runs.glob('*/result.json'))) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    first.kill()
    first.wait()
    done = {path: path.stat().st_mtime_ns for path in runs.glob('*/result.json')}
    assert 3 <= len(done) < 12
    second = subprocess.run(command, **settings, capture_output=True, text=True, timeout=1500, check=True)
    # What its processes had as good as done when it was killed they have ended.
    new, before = map(int, re.findall(r'(\d+) runs done, (\d+) were done before', second.stdout)[0])
    assert len(done) <= before < 12
    assert new == 12 - before == second.stdout.count(': started')
    rows = read_csv(tmp_path)
    assert [row['state'] for row in rows] == ['done'] * 12
    assert len({(row['optim.lr'], row['seed']) for row in rows}) == len(list(runs.glob('0*'))) == 12
    assert {path: path.stat().st_mtime_ns for path in done} == done
    for folder in runs.glob('0*'):
        steps = [json.loads(line)['step'] for line in (folder / 'metrics.jsonl').read_text().splitlines()]
        assert steps == sorted(set(steps))
        assert steps[-1] == 4
