"""The quickstart from end to end on tiny networks, and its tables on samples whose distances are known."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import guidance
from diffusion_jax.data import show as showing
from diffusion_jax.evaluation import report
from diffusion_jax.inference import runs
from tests import tiny

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[1] / 'configs'
NUM = 100


def call(folder):
    configs = [f'--config={CONFIGS}/quickstart.py:runlocal', f'--distil_config={CONFIGS}/quickstart_cd.py:runlocal']
    shorter = ['--config.net.multipliers=(1,)', '--config.train.steps=4', '--distil_config.train.steps=3']
    shorter += ['--config.mesh.data=1', '--distil_config.mesh.data=1']  # eight devices compile for longer
    shorter += ['--config.train.sample_every=0', '--distil_config.train.sample_every=0', '--config.eval.bits_num=0']
    arguments = [f'--workdir={folder}', f'--num={NUM}', '--steps=2', '--few_steps=1']
    return tiny.call('experiments.quickstart', *configs, *shorter, *arguments)


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """The folder of a finished quickstart, the rows of its picture, and its module."""
    folder, shown = tmp_path_factory.mktemp('quickstart'), {}
    save = showing.named_rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showing, 'named_rows', lambda path, rows: (shown.update(rows), save(path, rows)))
        assert call(folder) == 0
    return SimpleNamespace(
        folder=folder,
        shown=shown,
        module=sys.modules['experiments.quickstart'],
        teacher=runs.load(folder),
        student=runs.load(folder / 'consistency'),
    )


def first_table(text):
    head, _, *lines = re.search(r'(?:^\|.*\n)+', text, re.M)[0].splitlines()
    cells = [[c.strip() for c in line.strip('|').split('|')] for line in (head, *lines)]
    return {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[1:]}


def test_every_row_starts_from_the_same_noises(done):
    assert list(done.shown) == ['DDPM 2', 'DDIM 1', 'DDIM 2', 'CM 1', 'data']
    keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(0), i), 0) for i in range(16)]
    x_T = jnp.stack([jax.random.normal(key, (8, 8, 1)) for key in keys])
    x_T *= done.teacher.experiment.schedule.sigma(jnp.float32(1))
    for row, run, kind in (('DDIM 1', done.teacher, 'denoise'), ('CM 1', done.student, 'consistency')):
        function = guidance.clip(getattr(run.experiment.models, kind)(run.params, None, None))
        np.testing.assert_allclose(done.shown[row], function(x_T, jnp.ones(16)), atol=1e-5)


def test_the_student_has_the_teachers_network_and_starts_from_it(done):
    teacher, student = done.teacher, done.student
    assert (teacher.step, student.step) == (4, 3)
    assert student.config['net'] == teacher.config['net']
    assert list(student.config['net']['multipliers']) == [1]
    assert student.config['init_from'] == str(done.folder)
    apart = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (teacher.params, student.params)), strict=True)]
    assert 0 < max(apart) < 3 * 1.1e-3  # at most as far as three of Adam's first steps


def test_the_report_counts_network_evaluations(done):
    text = (done.folder / 'report.md').read_text()
    table = first_table(text)
    assert [(name, row['network evaluations']) for name, row in table.items()] == [
        ('DDPM, 2 steps', '2'),
        ('DDIM, 1 steps', '1'),
        ('DDIM, 2 steps', '2'),
        ('CM, 1 steps', '1'),
    ]
    assert all(float(row['ms a sample']) > 0 for row in table.values())
    assert f'n = {NUM}' in text
    assert (done.folder / 'tradeoff.png').stat().st_size > 1000


def test_running_it_again_trains_no_more(done):
    files = [done.folder / 'metrics.jsonl', done.folder / 'consistency' / 'metrics.jsonl']
    before = [file.read_text() for file in files]
    assert call(done.folder) == 0
    assert [file.read_text() for file in files] == before


def test_drifts_by_hand(done):
    # Two points each: pairs are 1 apart and others sqrt(1 + 3^2), or the other way round.
    x = np.array([[0.0, 0.0], [3.0, 0.0]])
    lifted, same = x + np.array([[0.0, 1.0]]), f'{1 / np.sqrt(10):.3f}'
    rows = [
        ('DDPM', 5, x),
        ('DDPM', 9, lifted[::-1]),
        ('DDIM', 2, lifted),
        ('DDIM', 9, x),
        ('CM', 1, lifted),
        ('CM', 2, x),
    ]
    nothing = report.Result({}, report.Protocol('', '', 2, '', 2, (), None))
    table = first_table(done.module.drift_table([done.module.Row(m, n, nothing, v) for m, n, v in rows]))
    assert {name: {k: v for k, v in row.items() if v} for name, row in table.items()} == {
        'DDPM, against DDPM 9': {'5 steps': f'{np.sqrt(10):.3f}'},
        'DDIM, against DDIM 9': {'2 steps': same},
        'CM, against CM 2': {'1 steps': same},
        'CM, against DDIM 9': {'1 steps': same, '2 steps': '0.000'},
    }
