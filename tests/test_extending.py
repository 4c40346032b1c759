"""docs/extending.md as it stands: its files are written, its commands run, and what it promises is looked at."""

import re
import shlex
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules
from diffusion_jax.data import mixture
from diffusion_jax.training.run import train
from tests import tiny

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'extending.md').read_text()
RECIPES = {title: body for title, body in re.findall(r'^## (.*?)\n(.*?)(?=^## |\Z)', TEXT, re.M | re.S)}


def files(body):
    """The files of a recipe, by name."""
    return {re.match(r'# (\S+)', code)[1]: code for code in re.findall(r'```python\n(.*?)```', body, re.S)}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the files of a recipe where Python finds them."""
    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(title):
        for name, code in files(RECIPES[title]).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(code)
        return tmp_path

    yield write
    for name in {*sys.modules} - before:
        if name.startswith('my_'):
            del sys.modules[name]


@pytest.fixture(scope='module')
def tiny_run(tmp_path_factory):
    """What the recipes call runs/tiny: points of the plane."""
    workdir = tmp_path_factory.mktemp('runs') / 'tiny'
    config = tiny.points()
    train({**config, 'eval': {**config['eval'], 'num': 64}}, workdir)
    return workdir


def commands(body):
    return [line for code in re.findall(r'```sh\n(.*?)```', body, re.S) for line in code.splitlines()]


RUN = [pytest.param(t, marks=[pytest.mark.slow] * (t != 'A schedule')) for t in RECIPES if '```sh' in RECIPES[t]]


@pytest.mark.parametrize('title', RUN)
def test_a_recipe_runs(title, written, tiny_run, monkeypatch):
    folder = written(title)
    monkeypatch.chdir(folder)
    Path('runs').mkdir()
    Path('runs/tiny').symlink_to(tiny_run)
    Path('configs').symlink_to(ROOT / 'configs')
    for line in commands(RECIPES[title]):
        _, _, module, *arguments = shlex.split(line)
        if module.endswith('.train'):
            arguments += ['--config.train.sample_every=0', '--config.sample.times.n=2']
        if module == 'experiments.papers':  # which takes a word beside its flags
            module, arguments[0] = f'{module}.__main__', f'--table={arguments[0]}'
        assert tiny.call(module, *arguments) == 0, line
    if title == 'A table of a paper':
        assert 'fewer steps are worse' in Path('runs/eta/my_papers.eta.md').read_text()


@pytest.mark.parametrize('title', RECIPES)
def test_a_recipe_is_short(title):
    """At most three files, and eighty lines in all."""
    found = files(RECIPES[title])
    assert len(found) <= 3
    assert sum(code.count('\n') for code in found.values()) <= 80


def test_the_sampler_has_the_order_that_it_declares_and_loses_it_with_the_bug_of_its_recipe(written, x64):
    folder = written('A sampler')
    schedule, data = schedules.LinearVP(), mixture.ring(k=3, std=0.3)
    data = jax.tree.map(lambda a: a.astype(jnp.float64), data)
    denoise = mixture.denoiser(data, schedule)
    x = jax.random.normal(jax.random.key(0), (16, 2), jnp.float64)

    def order(midpoint):
        runs = []
        for n in (40, 80, 2000):
            grid = np.linspace(0.9, 0.2, n + 1)
            runs.append(samplers.sample(midpoint(denoise, schedule), jax.random.key(0), x, grid))
        errors = [jnp.abs(run - runs[-1]).mean() for run in runs[:2]]
        return float(jnp.log2(errors[0] / errors[1]))

    import my_sampler

    assert abs(order(my_sampler.midpoint) - my_sampler.midpoint(denoise, schedule).order) < 0.15
    code = (folder / 'my_sampler.py').read_text()
    assert code.count('denoise(x_m, m)') == 1
    planted: dict = {}
    exec(compile(code.replace('denoise(x_m, m)', 'denoise(x_m, t)'), 'planted', 'exec'), planted)
    assert order(planted['midpoint']) < 1.3
