"""Notebooks are pairs of a script and what Jupyter reads, and their code runs."""

import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / 'notebooks').glob('*.py'))


def cells(script):
    """(type, source) of each cell of a script in the percent format; text without its `# `."""
    body = script.partition('\n# ---\n')[2]
    for kind, text in re.findall(r'^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)', body, re.M | re.S):
        yield ('markdown', re.sub(r'^# ?', '', text.strip(), flags=re.M)) if kind else ('code', text.strip())


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_both_of_a_pair_are_the_same(path):
    notebook = json.loads(path.with_suffix('.ipynb').read_text())
    assert [*cells(path.read_text())] == [(c['cell_type'], ''.join(c['source'])) for c in notebook['cells']]


def test_from_scratch_is_sixty_lines():
    (path,) = (p for p in NOTEBOOKS if p.stem == 'ddpm_from_scratch')
    code = '\n'.join(text for kind, text in cells(path.read_text()) if kind == 'code')
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 60


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:FigureCanvasAgg is non-interactive:UserWarning')
def test_ddpm_from_scratch_learns():
    """With a fifth of its steps: the loss falls, and DDIM on few steps and on many ends nearly alike, unlike DDPM."""
    (path,) = (p for p in NOTEBOOKS if p.stem == 'ddpm_from_scratch')
    matplotlib.use('agg')
    code = path.read_text()
    assert code.count('STEPS = 3000\n') == 1
    names: dict = {}
    exec(code.replace('STEPS = 3000\n', 'STEPS = 600\n'), names)
    losses = names['losses']
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    apart = {name: abs(drawn[20] - drawn[250]).mean() for name, drawn in names['drawn'].items()}
    assert apart['DDIM'] < 0.5 * apart['DDPM']
