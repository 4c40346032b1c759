"""Images of any program on the command line: written by `sample`, measured without the run, refused in one line."""

import json

import numpy as np
import pytest

from configs import quickstart
from diffusion_jax import builders
from tests import tiny

pytestmark = pytest.mark.slow

CONFIG = f'--config={quickstart.__file__}:runlocal'


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))


@pytest.fixture
def drawn(tmp_path):
    """Images that some program wrote: data of the held-out split."""
    test = builders.build_source(builders.resolve(quickstart.get_config())['data'], 'test')
    x = np.round(np.asarray(test.x)[:70] * (255 / 16)).astype(np.uint8)
    np.savez(tmp_path / 'x.npz', arr_0=x)
    return tmp_path / 'x.npz'


def kept(path):
    ((name, result),) = json.loads(path.read_text()).items()
    return name, result['values'], result['protocol']


def test_samples_go_out_and_are_measured_as_they_were_drawn(digits_run, tmp_path, capsys):
    given = [f'--workdir={digits_run}', '--num=70', f'--out={tmp_path}/x', '--batch_size=70', '--export=png']
    assert tiny.call('sample', *given) == 0
    assert f'exported: {tmp_path}/x_png' in capsys.readouterr().out
    measured = {}
    for name in ('x_png', 'x.npz'):
        results = tmp_path / f'{name}.json'
        assert (
            tiny.call('evaluate', f'--samples={tmp_path}/{name}', f'--workdir={digits_run}', f'--results={results}')
            == 0
        )
        title, measured[name], protocol = kept(results)
        assert title == f'{name}, 70 images, pixels-64'
        assert (protocol['reference'], protocol['n'], protocol['seeds']) == ('digits/train', 70, [])
    assert measured['x_png'] == measured['x.npz']
    assert 'rate of copies' in measured['x_png']  # held-out data are read too


def test_a_run_against_statistics_of_others(digits_run, tmp_path):
    np.savez(tmp_path / 'stats.npz', mu=np.zeros(64), sigma=np.eye(64))
    given = [f'--workdir={digits_run}', '--num=9', '--bits_num=0', '--held_out=none', f'--results={tmp_path}/r.json']
    assert tiny.call('evaluate', *given, '--features=pixels', f'--reference={tmp_path}/stats.npz') == 0
    name, values, protocol = kept(tmp_path / 'r.json')
    assert 'against stats.npz (statistics, ' in name
    assert [*values] == ['Frechet distance (pixels-64)', 'Frechet distance (pixels-64), standard error']
    assert protocol['levels'] == 17


def test_statistics_of_other_features_than_the_runs(digits_run, tmp_path, capsys):
    np.savez(tmp_path / 'stats.npz', mu=np.zeros(5), sigma=np.eye(5))
    given = [f'--workdir={digits_run}', '--num=9', '--bits_num=0', f'--results={tmp_path}/r.json', '--features=pixels']
    said = tiny.refusal(capsys, 'evaluate', *given, f'--reference={tmp_path}/stats.npz')
    assert 'stats.npz holds statistics of 5 features, and pixels-64 has 64: choose the --features' in said


def test_images_without_a_run(drawn, tmp_path, capsys):
    assert tiny.call('evaluate', f'--samples={drawn}', CONFIG, '--num=66', '--held_out=none') == 0
    printed = capsys.readouterr().out
    assert '| x.npz, 66 images, pixels-64 |' in printed
    assert 'reference = digits/train' in printed
    assert 'rate of copies' not in printed
    same = f'--reference={drawn}'
    assert tiny.call('evaluate', f'--samples={drawn}', same, '--features=pixels', f'--results={tmp_path}/r.json') == 0
    _, values, _ = kept(tmp_path / 'r.json')
    assert values['Frechet distance (pixels-64)'] < 1e-9
    assert not [*(tmp_path / 'home').rglob('*')] or len([*(tmp_path / 'home').rglob('*.npy')]) == 1  # of the reference


WRONG = [
    ([], '--samples are compared with one of --config, --workdir (its data) and --reference: set one'),
    (
        [CONFIG, '--reference=x'],
        '--samples are compared with one of --config, --workdir (its data) and --reference: se',
    ),
    (['--reference=/nowhere'], '--reference says nothing of features: set --features, e.g. inception:path=FILE, or'),
    (['--reference=/nowhere', '--features=pixels'], 'cannot read /nowhere: there is no such file or folder'),
    (['--reference=x', '--held_out=test'], '--held_out is a split of data, and --reference has no splits: leave it o'),
    ([CONFIG, '--sampler=ddim'], '--sampler is of a run, and --samples are measured as they are: leave it out'),
    ([CONFIG, '--seed=0'], '--seed is of a run, and --samples are measured as they are: leave it out'),
    ([CONFIG, '--num=71'], '{samples} holds 70 images, and 71 are asked for: set --num'),
    ([CONFIG, '--config.data.nam=x'], 'config.data.nam is not an argument of'),
    (['--workdir=/nowhere'], '/nowhere holds no run (no config.json): train first, or check the path'),
]


@pytest.mark.parametrize(('arguments', 'message'), WRONG, ids=[' '.join(row[0])[-30:] for row in WRONG])
def test_what_cannot_be_measured(drawn, capsys, arguments, message):
    said = tiny.refusal(capsys, 'evaluate', f'--samples={drawn}', *arguments)
    assert said.startswith(message.format(samples=drawn)), said


def test_what_cannot_be_exported(digits_run, capsys, tmp_path):
    said = tiny.refusal(capsys, 'sample', f'--workdir={digits_run}', f'--out={tmp_path}/x', '--export=jpg')
    assert said.startswith('flag --export=jpg: value should be one of <adm|png>')
    said = tiny.refusal(capsys, 'evaluate', f'--workdir={digits_run}', CONFIG)
    assert said == '--config is for --samples: a run has its own'
