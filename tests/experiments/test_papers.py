"""Paper tables: the papers satisfy their own claims, every run of every sweep builds, and tables say what they hold."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import toy2d
from diffusion_jax import builders, nets, samplers, times
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from experiments.papers import NAMES, heading, plan_of, report, table, table_of
from experiments.papers import samplers as of_papers
from experiments.papers.plan import SCALES, Cell, Files, Plan, Recipe, Settings, config_of, needed
from experiments.papers.results import Entry, Results, measure_all, train_all
from experiments.running import measurements
from experiments.running.measuring import Bench
from tests import processes, tiny

MAIN = 'experiments.papers.__main__'
PLANS = [(name, scale) for name in NAMES for scale in SCALES]


@pytest.mark.parametrize('name', NAMES)
def test_the_paper_satisfies_its_own_claims(name):
    """A claim that the paper's numbers refute is misread, or a number is."""
    paper = table_of(name)
    said = {claim.text: table.verdict(claim, paper.cells) for claim in paper.claims}
    assert False not in said.values(), said
    if paper.cells:
        assert True in said.values()
    assert all(row in paper.rows and column in paper.columns for row, column in paper.cells)
    assert not any(',' in text for text in (*paper.rows, *paper.columns))  # --rows=A,B


@pytest.mark.parametrize('name', NAMES)
def test_every_claim_can_fail(name):
    """On cells of noise none of the claims that can be judged holds always."""
    paper, rng = table_of(name), np.random.default_rng(0)
    judged = {claim.text: set() for claim in paper.claims}
    for _ in range(300):
        cells = {(r, c): float(rng.uniform(1, 10)) for r in paper.rows for c in paper.columns}
        for claim in paper.claims:
            judged[claim.text].add(table.verdict(claim, cells))
    assert all(False in said for said in judged.values()), judged


def cheap(config):
    """The same method on points: what it changes beside data and network is built as it is."""
    points = toy2d.get_config('runlocal').to_dict()
    config = {**config, 'data': points['data'], 'net': points['net'], 'teacher': None}
    if config['objective'].get('distance', {}).get('name') == 'lpips':  # whose files are the user's
        config['objective'] = {**config['objective'], 'distance': {'name': 'pseudo_huber'}}
    return config


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'scale'), PLANS)
def test_every_run_of_every_plan_builds(name, scale, tmp_path):
    plan, built = plan_of(name, scale), {}
    paper = table_of(name)
    for run, recipe in plan.recipes.items():
        start = None if recipe.start is None else tmp_path / recipe.start
        config = config_of(recipe, 3, start, Files('DIR', 'VGG', 'LIN'))
        assert config['seed'] == 3
        json.dumps(config)
        distance = config['objective'].get('distance', {})
        assert distance.get('name') != 'lpips' or (distance['vgg'], distance['lin']) == ('VGG', 'LIN')
        assert config['data'].get('dir', 'DIR') == 'DIR'
        build_net(config['net'])
        points = cheap(config)
        if start:
            points['teacher'] = cheap(built[recipe.start])
        experiment = builders.build(points)
        for cell, (of, measurement, _) in plan.cells.items():
            assert cell[0] in paper.rows
            assert cell[1] in paper.columns
            if of == run and measurement.sample:
                builders.build_draw(experiment, {**points['sample'], **measurement.sample})
        built[run] = config
    used = needed(plan, plan.cells)
    assert used == list(plan.recipes)  # none trained for nothing, teachers first


def build_net(spec):
    kinds = {'UNet': nets.UNet, 'MLP': nets.MLP}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != 'name'}
    kinds[spec['name']](**given, **({'out_channels': 1} if spec['name'] == 'UNet' else {'out_dim': 1}))


def entry(value, metric='FID', n=50_000, reference='cifar10/3.0.2/train'):
    return Entry(value, metric, {'n': n, 'reference': reference, 'seeds': (0,)}, np.zeros(0))


PAPER = table.Table(
    source=table.Paper('Toy, Table 9', '0000.00000', 'toys', ('FID', 50_000, 'cifar10/')),
    rows=('a', 'b', 'c'),
    columns=('1', '2'),
    across='S =',
    cells=table.block(('a', 'b'), ('1', '2'), [[4.0, 2.0], [table.UNSTABLE, None]]),
    claims=(
        table.Claim('a falls', lambda c: table.falls(table.along(c, 'a', ('1', '2')))),
        table.Claim('b is worst', lambda c: table.worst(c, 'b', 'ab', '1')),
        table.Claim('c is best', lambda c: table.best(c, 'c', 'abc', '1')),
    ),
)
FOUND = Results(
    {
        ('a', '1'): {0: entry(5.0), 1: entry(7.0)},
        ('a', '2'): {0: entry(4.0), 1: entry(9.0)},
        ('b', '1'): {0: entry(1.0)},
    },
    {'r': 1.5},
    {('r', 'heun', 0): 20.0, ('r', 'heun', 1): 10.0},
    {},
    {},
)


def test_the_table_has_the_papers_column_beside_ours():
    lines = report.table(PAPER, FOUND).splitlines()
    assert lines[0] == '|  | S = 1, paper | S = 1, ours | S = 2, paper | S = 2, ours |'
    assert lines[2] == '| a | 4 | 6 ± 1.4 | 2 | 6.5 ± 3.5 |'  # standard deviations sqrt(2) and 5 / sqrt(2)
    assert lines[3] == '| b | unstable | 1 |  |  |'
    assert lines[4] == '| c |  |  |  |  |'
    by_metric = PAPER._replace(across='')
    stand_in = FOUND._replace(entries={('a', '1'): {0: entry(5.0, metric='Frechet distance (pca-64)')}})
    assert report.table(by_metric, stand_in).startswith('|  | 1, paper | Frechet distance (pca-64), ours | 2, paper |')


def test_claims_are_judged_seed_by_seed():
    lines = report.claims(PAPER, FOUND, (0, 1)).splitlines()
    assert lines[2] == '| a falls | holds | open | 50% |'  # 5, 4 and 7, 9
    assert lines[3] == '| b is worst | holds | does not hold | 0% |'
    assert lines[4] == '| c is best | no numbers | not measured |  |'
    none = report.claims(PAPER, FOUND, (2,)).splitlines()
    assert none[2] == '| a falls | holds | not measured |  |'


@pytest.mark.parametrize(('apart', 'said', 'share'), [(0.0, 'open', 0.5), (0.7, 'open', 0.69), (5.0, 'holds', 1.0)])
def test_claims_within_the_standard_error_are_open(apart, said, share):
    """Two cells with unit standard errors, z apart: the first is below in Phi(z / sqrt 2) of all redraws."""
    noisy = {('a', '1'): {0: entry(4.0 + apart)._replace(error=1.0)}, ('a', '2'): {0: entry(4.0)._replace(error=1.0)}}
    line = report.claims(PAPER, FOUND._replace(entries=noisy), (0,)).splitlines()[2]
    *_, ours, shown = (cell.strip() for cell in line.strip('|').split('|'))
    assert ours == said
    assert abs(float(shown.rstrip('%')) / 100 - share) < 0.06
    assert '| a | 4 |' in report.table(PAPER, FOUND._replace(entries=noisy))
    assert '± 1' in report.table(PAPER, FOUND._replace(entries=noisy))


def test_numbers_are_compared_under_one_protocol_alone():
    assert 'a, 1: +2; a, 2: +4.5' in report.differences(PAPER, FOUND)
    for other in (entry(1.0, metric='Frechet distance (pca-64)'), entry(1.0, n=500), entry(1.0, reference='digits/')):
        mixed = FOUND._replace(entries={**FOUND.entries, ('a', '1'): {0: other}})
        assert 'only orderings' in report.differences(PAPER, mixed)


def test_costs_and_protocols_are_said():
    assert report.costs(FOUND) == ('Cost in CPU minutes: training r 1.5 (together 1.5), sampling and measuring 0.5.')
    assert '- FID: n = 50000, reference = cifar10/3.0.2/train.' in report.protocols(FOUND)


@pytest.fixture(scope='module')
def command():
    """The command's module, whose import defines its flags."""
    assert tiny.call(MAIN, '--workdir=x') == 2
    return sys.modules[MAIN]


def test_cells_are_chosen_by_name(command):
    plan, paper = plan_of('ddim_table1', 'mini'), table_of('ddim_table1')
    assert command.chosen(plan, paper, ['linear: eta = 0.0'], ['20']) == [('linear: eta = 0.0', '20')]
    with pytest.raises(UserError, match="there is no row 'linear: eta = 0'; did you mean"):
        command.chosen(plan, paper, ['linear: eta = 0'], None)
    with pytest.raises(UserError, match='none of these cells'):
        command.chosen(plan, paper, None, ['1000'])
    with pytest.raises(UserError, match='there is no run'):
        command.finished(['modell=runs/mnist'], plan)
    with pytest.raises(UserError, match='nowhere holds no run'):
        command.finished(['model=nowhere'], plan)
    with pytest.raises(UserError, match='NAME=WORKDIR'):
        command.finished(['model'], plan)


@pytest.mark.slow
def test_tables_are_named_on_the_command_line(tmp_path, capsys):
    """Without absl's own word for what is no flag; --help lists them, each with one line."""
    assert tiny.refusal(capsys, MAIN, '--table=ddim_tabel1', f'--workdir={tmp_path}').startswith(
        "there is no table 'ddim_tabel1'; did you mean ddim_table1 or"
    )
    assert tiny.refusal(capsys, MAIN, f'--workdir={tmp_path}').startswith('which table? The form is: ')
    command, settings = [sys.executable, '-m', 'experiments.papers'], {'capture_output': True, 'text': True}
    settings |= {'cwd': processes.ROOT, 'env': processes.environment(1), 'check': False}
    told = subprocess.run([*command, 'pd_table', '--workdir=x', '--rows=distiled'], **settings)
    assert (told.returncode, told.stderr) == (
        2,
        "error: --rows: there is no row 'distiled'; did you mean distilled or distilled (ImageNet-64)?\n",
    )
    helped = subprocess.run([*command, '--help'], **settings)
    for name in NAMES:
        assert f'  {name}: {heading(name)}\n' in helped.stdout
        assert heading(name).partition(',')[0].partition(':')[0] in table_of(name).source.title


def test_only_the_runs_of_the_wanted_cells_are_trained():
    plan = plan_of('cm_table', 'mini')
    assert needed(plan, [('PD', '2')]) == ['edm', 'pd_4', 'pd_2']
    assert needed(plan, [('CT', '1')]) == ['ct']


PLAN = Plan(
    'points',
    '',
    {
        'edm': Recipe('tests/few_step.py:edm'),
        'cd': Recipe('tests/few_step.py:cd', {'train.steps': 3}, 'edm'),
        'wild': Recipe('tests/few_step.py:edm', {'optim.lr': 1e30, 'optim.clip': None}),
    },
    {('a', '1'): Cell('cd', of_papers.ON_VE['1']), ('b', '1'): Cell('wild', of_papers.HEUN)},
    100,
)


TRAINS = """
import json, sys, time
from pathlib import Path
name, seed = (dict(a.lstrip('-').split('=') for a in sys.argv[2:])[key] for key in ('train', 'seed'))
folder = Path(sys.argv[1]) / f'seed_{seed}'
assert name != 'cd' or (folder / 'edm' / 'training.json').exists()
time.sleep(0.3 if name == 'edm' else 0.0)
(folder / name / 'training.json').write_text(json.dumps({'seconds': 1.0, 'done': True}))
print(name)
"""


def test_processes_train_what_is_not_done_teachers_first(tmp_path):
    settings, names = Settings(tmp_path, 100), list(PLAN.recipes)
    for _ in range(2):
        train_all(PLAN, names, [0, 1], settings, 2, ['-c', TRAINS, str(tmp_path)])
        logs = {path.parent: path.read_text() for path in tmp_path.glob('seed_?/*/log.txt')}
        assert logs == {tmp_path / f'seed_{seed}' / name: f'{name}\n' for seed in (0, 1) for name in names}
    with pytest.raises(UserError, match=r'1 runs failed: see .*seed_2/edm/log.txt'):
        train_all(PLAN, ['edm', 'cd'], [2], settings, 2, ['-c', 'raise SystemExit(2)'])
    assert not (tmp_path / 'seed_2' / 'cd').exists()  # which had no teacher


def test_a_process_is_given_its_own_seed(command):
    given = ['--seed=0', '--scale=mini', '--seed', '1', '-seed=2', '--workers', '2']
    assert command.without(given, 'seed') == ['--scale=mini', '--workers', '2']


@pytest.mark.slow
def test_runs_are_trained_once_and_a_diverged_one_is_unstable(tmp_path, capsys):
    settings, names = Settings(tmp_path, 100), list(PLAN.recipes)

    def fill(plan, cells, seeds, settings):
        train_all(plan, needed(plan, cells), seeds, settings, 0, [])
        said = capsys.readouterr().out.splitlines()
        return measure_all(plan, cells, seeds, settings, lambda text: None), [line.partition(':')[0] for line in said]

    first, trained = fill(PLAN, PLAN.cells, (0, 1), settings)
    assert trained == [f'{name}, seed {seed}' for seed in (0, 1) for name in names]
    assert runs.load(tmp_path / 'seed_1' / 'cd').config['init_from'] == str(tmp_path / 'seed_1' / 'edm')
    assert first.entries['a', '1'][0].value != first.entries['a', '1'][1].value
    assert first.entries['b', '1'][0].value == table.UNSTABLE
    again, trained = fill(PLAN, PLAN.cells, (0, 1), settings)
    assert trained == []
    assert again.entries['a', '1'][1].value == first.entries['a', '1'][1].value
    assert (again.minutes, again.seconds) == (first.minutes, first.seconds)
    other = PLAN._replace(recipes={**PLAN.recipes, 'cd': PLAN.recipes['cd']._replace(overrides={'train.steps': 2})})
    with pytest.raises(UserError, match='holds a run of another config'):
        fill(other, [('a', '1')], (0,), settings)
    only = settings._replace(given={'edm': tmp_path / 'seed_0' / 'edm'}, workdir=tmp_path / 'other')
    fill(PLAN, [('a', '1')], (0,), only)
    assert runs.load(tmp_path / 'other' / 'seed_0' / 'cd').config['init_from'] == str(tmp_path / 'seed_0' / 'edm')
    assert not (tmp_path / 'other' / 'seed_0' / 'edm').exists()


CHILD = """
import sys
from pathlib import Path
from experiments.papers.plan import Settings, training_of
from experiments.running.queue import make_one
from tests.experiments.test_papers import PLAN
folder, *given = sys.argv[1:]
name, seed = (dict(a.lstrip('-').split('=') for a in given)[key] for key in ('train', 'seed'))
make_one(training_of(PLAN, Settings(Path(folder), 100), name, int(seed)), None, True)
"""


@pytest.mark.slow
def test_a_reconstruction_is_of_all_rows_a_batch_at_a_time(digits_run):
    """Seven rows in batches of three, against the same rows encoded and decoded as one."""
    run = runs.load(digits_run)
    run = run._replace(config={**run.config, 'eval': {**run.config['eval'], 'batch_size': 3}})
    held_out = runs.held_out(run)
    bench = Bench(None, lambda: held_out, 'pixels', 7, 0)
    found = measurements.reconstruction({'name': 'uniform', 'n': 3}).measure(run, bench)
    x, grid = jnp.asarray(Values(held_out)[:7]), times.uniform(3)
    denoise, schedule = run.experiment.models.denoise(run.params, None, None), run.experiment.schedule
    latent = samplers.sample(samplers.ddim_encode(denoise, schedule), jax.random.key(1), x, grid[::-1])
    y = samplers.sample(samplers.ddim(denoise, schedule), jax.random.key(2), latent, grid)
    np.testing.assert_allclose(found.shown, y, atol=1e-4)
    np.testing.assert_allclose(found.values['error'], np.mean((y - x) ** 2) / 4, rtol=1e-4)
    assert found.protocol['rows'] == 7


@pytest.mark.slow
def test_trainings_in_processes_of_their_own(tmp_path):
    settings, command = Settings(tmp_path, 100), ['-c', CHILD, str(tmp_path)]
    train_all(PLAN, ['edm', 'cd'], [0], settings, 2, command)
    assert runs.load(tmp_path / 'seed_0' / 'cd').step == 3
    kept = (tmp_path / 'seed_0' / 'cd' / 'training.json').read_text()
    train_all(PLAN, ['edm', 'cd'], [0], settings, 2, ['-c', 'raise SystemExit(1)'])  # none starts
    assert (tmp_path / 'seed_0' / 'cd' / 'training.json').read_text() == kept


@pytest.mark.slow
def test_ddims_tables_of_a_finished_run(tmp_path, capsys):
    train(tiny.digits(), tmp_path)
    chosen = ['--num=100', '--rows=linear: eta = 0.0,linear: sigma-hat', '--columns=10']
    assert tiny.call(MAIN, '--table=ddim_table1', f'--workdir={tmp_path}', *chosen) == 0
    text = (tmp_path / 'ddim_table1.md').read_text()
    assert 'training' not in capsys.readouterr().out
    assert '| linear: eta = 0.0 | 17.33 |' in text
    assert 'Frechet distance (pixels-64): features = pixels-64' in text
    assert 'Command: `python -m experiments.papers ddim_table1 --workdir=' in text
    for suffix in ('', '_samples', '_losses'):
        assert (tmp_path / f'ddim_table1{suffix}.png').stat().st_size > 1000
    assert tiny.call(MAIN, '--table=ddim_table2', f'--workdir={tmp_path}', '--num=4', '--columns=10,20') == 0
    assert 'mean square error per dimension: rows = 4, of = digits/test' in (tmp_path / 'ddim_table2.md').read_text()
    told = tiny.refusal(capsys, MAIN, '--table=ddim_table1', f'--workdir={tmp_path}', '--columns=30')
    assert told.startswith("--columns: there is no column '30'")
