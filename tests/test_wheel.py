"""Wheel and sdist outside of the repository: what they hold, and that their commands run in an empty folder."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
SMALL = ('--config.data.n=64', '--config.net.width=8', '--config.train.sample_every=0', '--config.sample.times.n=3')


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """The sdist of the repository, the wheel of the sdist, and that wheel installed into an empty folder."""
    folder = tmp_path_factory.mktemp('built')
    code = f'from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})'
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob('*.tar.gz')
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    # Without build isolation and dependencies, and so without a network.
    offline = ['--no-deps', '--no-index']
    subprocess.run([*pip, 'wheel', *offline, '--no-build-isolation', f'--wheel-dir={folder}', sdist], check=True)
    (wheel,) = folder.glob('*.whl')
    subprocess.run([*pip, 'install', *offline, f'--target={folder / "site"}', wheel], check=True)
    return SimpleNamespace(sdist=sdist, wheel=wheel, site=folder / 'site')


@pytest.fixture
def installed(built, tmp_path):
    """Runs the installed command in an empty folder; returns what it printed."""

    def run(*arguments, code=0):
        environment = {**os.environ, 'PYTHONPATH': str(built.site)}
        command = [sys.executable, built.site / 'bin' / 'diffusion-jax', *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run


def test_what_they_hold(built):
    names = {*zipfile.ZipFile(built.wheel).namelist()}
    top = {name.partition('/')[0] for name in names}
    assert {name for name in top if not name.endswith('.dist-info')} == {'diffusion_jax'}
    files = [path.relative_to(ROOT) for part in ('configs', 'experiments') for path in (ROOT / part).rglob('*.py')]
    assert {f'diffusion_jax/shipped/{path}' for path in files} <= names
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / 'diffusion_jax').rglob('*.py')}
    assert ours | {'diffusion_jax/py.typed'} <= names
    with tarfile.open(built.sdist) as archive:
        inside = {name.partition('/')[2] for name in archive.getnames()}
    assert {'LICENSE', 'CITATION.cff', 'constraints.txt', 'docs/running.md', 'tests/tiny.py'} <= inside
    assert not {name for name in inside | names if 'runs/' in name or '__pycache__' in name}


def test_version_and_doctor(built, installed):
    version = installed('--version').strip()
    assert built.wheel.name.startswith(f'diffusion_jax-{version}-')
    assert f'in {built.site}/diffusion_jax/shipped' in installed('doctor')


def test_a_training_and_a_sample_in_an_empty_folder(installed, tmp_path):
    installed('train', '--config=toy2d:runlocal', '--workdir=run', *SMALL)
    installed('train', '--config=configs/toy2d.py:runlocal', '--workdir=again', *SMALL)
    installed('sample', '--workdir=run', '--num=8', '--out=points')
    assert np.load(tmp_path / 'points.npz')['samples'].shape == (8, 2)
    same = [(tmp_path / run / 'config.json').read_bytes() for run in ('run', 'again')]
    assert same[0] == same[1]


def test_configs_of_ones_own_start_from_ours(installed, tmp_path):
    """Beside a folder `experiments` of the user's, which hides nothing."""
    for name in ('configs', 'experiments'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').touch()
    (tmp_path / 'configs' / 'shared.py').write_text('STEPS = 3\n')
    (tmp_path / 'configs' / 'mine.py').write_text(
        'from configs import shared, toy2d\n\n\ndef get_config(arg=""):\n    config = toy2d.get_config("runlocal")\n'
        '    config.train.steps = shared.STEPS\n    return config\n'
    )
    (tmp_path / 'sweep.py').write_text(
        'from experiments.sweep import grid\n\nCONFIG = "configs/mine.py"\n\n\ndef sweep():\n'
        '    return grid(**{"optim.lr": [1e-3]})\n'
    )
    sized = [flag for flag in SMALL if 'width' not in flag]
    installed('sweep', '--config=configs/mine.py', '--sweep=sweep.py', '--workdir=runs', *sized, '--config.eval.num=64')
    assert (tmp_path / 'runs' / 'results.csv').read_text().count('\n') == 2  # a heading and the run
    (config,) = (tmp_path / 'runs').glob('*/config.json')
    assert '"steps": 3' in config.read_text()


@pytest.mark.parametrize('name', ['papers', 'quickstart', 'launch', 'few-step', 'tune'])
def test_programs_are_found(name, installed):
    assert '--workdir' in installed(name, '--help')
