"""Notebooks are pairs of a script and what Jupyter reads, and their code runs."""

import ast
import base64
import json
import re
import sys
from pathlib import Path

import jax
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.py'))
FROM_SCRATCH = ROOT / 'notebooks' / 'ddpm_from_scratch.py'
CLAIMS = [path for path in NOTEBOOKS if path != FROM_SCRATCH]  # each ends with what it claims, as assertions


def cells(script):
    """(type, source) of each cell of a script in the percent format; text without its `# `."""
    body = script.partition('\n# ---\n')[2]
    for kind, text in re.findall(r'^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)', body, re.M | re.S):
        yield ('markdown', re.sub(r'^# ?', '', text.strip(), flags=re.M)) if kind else ('code', text.strip())


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_both_of_a_pair_are_the_same(path):
    notebook = json.loads(path.with_suffix('.ipynb').read_text())
    assert [*cells(path.read_text())] == [(c['cell_type'], ''.join(c['source'])) for c in notebook['cells']]


def last_picture(path):
    """The PNG that the notebook of a script shows last, as it was executed."""
    outputs = [
        o for cell in json.loads(path.with_suffix('.ipynb').read_text())['cells'] for o in cell.get('outputs', ())
    ]
    *_, data = (o['data']['image/png'] for o in outputs if 'image/png' in o.get('data', {}))
    return base64.b64decode(data)


@pytest.mark.parametrize('path', CLAIMS, ids=lambda path: path.stem)
def test_the_sites_picture_is_the_notebooks(path):
    assert (ROOT / 'docs' / 'images' / 'notebooks' / f'{path.stem}.png').read_bytes() == last_picture(path)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_of_notebooks_shows_each_and_links_it(path):
    page = (ROOT / 'docs' / 'notebooks.md').read_text()
    assert f'](../notebooks/{path.stem}.py)' in page
    assert path == FROM_SCRATCH or f'](images/notebooks/{path.stem}.png)' in page


@pytest.mark.parametrize('path', CLAIMS, ids=lambda path: path.stem)
def test_a_notebook_ends_with_a_picture_and_claims(path):
    *_, picture, last = (text for kind, text in cells(path.read_text()) if kind == 'code')
    assert picture.endswith('plt.show()')
    asserted = [node for node in ast.walk(ast.parse(last)) if isinstance(node, ast.Assert)]
    assert len(asserted) >= 3


def test_from_scratch_is_sixty_lines():
    code = '\n'.join(text for kind, text in cells(FROM_SCRATCH.read_text()) if kind == 'code')
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 60


@pytest.fixture
def apart(monkeypatch):
    """Whatever a notebook sets for the whole process is put back."""
    monkeypatch.setattr(sys, 'path', [*sys.path])
    x64 = jax.config.jax_enable_x64
    matplotlib.use('agg')
    with matplotlib.rc_context(), jax.numpy_rank_promotion('allow'):  # as who runs it has it
        yield
    plt.close('all')
    jax.config.update('jax_enable_x64', x64)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:FigureCanvasAgg is non-interactive:UserWarning')
@pytest.mark.parametrize('path', CLAIMS, ids=lambda path: path.stem)
def test_what_a_notebook_claims(path, apart):
    exec(compile(path.read_text(), path.name, 'exec'), {})


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:FigureCanvasAgg is non-interactive:UserWarning')
def test_ddpm_from_scratch_learns(apart):
    """With a fifth of its steps: the loss falls, and DDIM on few steps and on many ends nearly alike, unlike DDPM."""
    code = FROM_SCRATCH.read_text()
    assert code.count('STEPS = 3000\n') == 1
    names: dict = {}
    exec(code.replace('STEPS = 3000\n', 'STEPS = 600\n'), names)
    losses = names['losses']
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    apart = {name: abs(drawn[20] - drawn[250]).mean() for name, drawn in names['drawn'].items()}
    assert apart['DDIM'] < 0.5 * apart['DDPM']


if __name__ == '__main__':  # the site's pictures, of notebooks as they were executed
    for notebook in CLAIMS:
        (ROOT / 'docs' / 'images' / 'notebooks' / f'{notebook.stem}.png').write_bytes(last_picture(notebook))
