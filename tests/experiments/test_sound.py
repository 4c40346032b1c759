"""The command on recordings: what is asked for, what is heard, and the table, on tones in the place of words."""

import json

import numpy as np
import pytest
from scipy.io import wavfile

from configs import fsdd_sound, fsdd_sound_cd
from diffusion_jax import builders
from diffusion_jax.data import sources
from diffusion_jax.evaluation import frechet, sounds
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from tests import spoken, tiny


@pytest.fixture(scope='module')
def experiment():
    """The experiment's module, whose flags are defined by its import: taken away again at once."""
    from absl import flags

    defined = {*flags.FLAGS}
    from experiments import sound as module

    for flag in {*flags.FLAGS} - defined:
        delattr(flags.FLAGS, flag)
    return module


@pytest.fixture(autouse=True)
def _tones(monkeypatch):
    monkeypatch.setattr(sources, 'examples', spoken.examples)


def config_of(module, condition='label'):
    config = module.get_config('runlocal')
    config.data.update(length=512, condition=condition)
    config.data.spectrum.update(window=64)
    config.net.update(multipliers=(1,))
    config.train.update(steps=2, save_every=2, sample_every=0, batch_size=8)
    config.sample.update(batch_size=16)
    config.eval.update(batch_size=16)
    return builders.resolve(config)


@pytest.mark.parametrize('condition', ['label', 'label+speaker', 'word', 'word+speaker'])
def test_what_is_asked_for_is_what_the_network_is_told(experiment, condition):
    config = {**config_of(fsdd_sound, condition), 'teacher': None}
    built = builders.build(config)
    run = runs.Run(config, built, {}, 0, None)
    found = experiment.asked(run, {'name': 'data'}, 50)
    assert {*found} == ({'label', 'speaker'} if '+' in condition else {'label'})
    order = np.random.default_rng(20).permutation(20)[np.arange(50) % 20]
    np.testing.assert_array_equal(found['label'], order % 10)
    if '+' in condition:
        np.testing.assert_array_equal(found['speaker'], order // 10)


def fake(classes, hear):
    """A judge whose logits are those of `hear` of the pictures, and whose features are their means."""

    def outputs(x):
        return Outputs(np.asarray(x).mean((1, 3)), None, np.eye(classes)[hear(np.asarray(x))])

    return Features('fake', outputs, 'none')


def test_shares_and_distances_are_those_of_the_sounds(experiment):
    rng = np.random.default_rng(0)
    y = 0.1 * rng.standard_normal((40, 512))
    judges = {'label': fake(10, lambda x: np.zeros(len(x), int)), 'speaker': fake(2, lambda x: np.ones(len(x), int))}
    rows = judges['label'].apply(sounds.picture(y, 8000) / 127.5 - 1)
    reference = frechet.finish(frechet.running(rows), 'fake')
    labels = {'label': np.repeat([0, 3], [10, 30]), 'speaker': np.ones(40, int)}
    row = experiment.measured(y, labels, judges, reference, 8000)
    assert row.values['label'] == 0.25
    assert row.errors['label'] == pytest.approx(np.sqrt(0.25 * 0.75 / 40))
    assert row.values['speaker'] == 1
    assert row.values['frechet'] == pytest.approx(0, abs=1e-6)
    other = experiment.measured(np.sin(np.arange(512) / 4) * y, {}, judges, reference, 8000)
    assert other.values['frechet'] > row.values['frechet']
    table = experiment.table({'real': row, 'drawn': other}, {'drawn': 7})
    assert '| real |  | 40 | 25.0 ± 6.8 | 100.0 ± 0.0 | 0.0 ±' in table
    assert '| drawn | 7 | 40 |  |  |' in table


@pytest.mark.slow
def test_a_run_is_measured_and_nothing_twice(tmp_path, capsys):
    train({**config_of(fsdd_sound), 'teacher': None}, tmp_path / 'run')
    arguments = f'--workdir={tmp_path / "run"}', '--num=20', '--judge_steps=2', '--weight=2', '--sampling=heun@2'
    assert tiny.call('experiments.sound', *arguments, '--sampling=ddim@2') == 0
    out = tmp_path / 'run' / 'sound'
    table = (out / 'table.md').read_text()
    assert '| heun-2, w = 2 | 6 | 20 |' in table
    assert '| ddim-2, w = 2 | 4 | 20 |' in table
    assert '| backwards |  | 20 |' in table
    rate, y = wavfile.read(out / '9.wav')
    assert (rate, y.shape, y.dtype) == (8000, (512,), np.int16)
    assert (out / 'sound.png').stat().st_size > 10_000
    told = json.loads(next(out.glob('ddim*.json')).read_text())
    assert told['sample']['guidance']['w'] == 2
    stamps = {path: path.stat().st_mtime_ns for path in [*out.glob('*.json'), *out.glob('*.npz')]}
    assert tiny.call('experiments.sound', *arguments, '--sampling=ddim@2') == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}

    config = builders.with_teacher({**config_of(fsdd_sound_cd), 'init_from': str(tmp_path / 'run')}, tmp_path / 'cd')
    train(config, tmp_path / 'cd')
    cd = f'--workdir={tmp_path / "cd"}', f'--judges={out}', '--num=20'
    assert tiny.call('experiments.sound', *cd) == 0
    assert '| consistency, 1 step | 1 | 20 |' in (tmp_path / 'cd' / 'sound' / 'table.md').read_text()
    line = tiny.refusal(capsys, 'experiments.sound', *arguments, '--sampling=ddim')
    assert line == '--sampling=ddim: the form is SAMPLER@STEPS, such as ddim@50'


@pytest.mark.slow
def test_a_run_of_other_data_is_refused(tmp_path, capsys):
    train({**tiny.points(), 'teacher': None}, tmp_path / 'run')
    message = tiny.refusal(capsys, 'experiments.sound', f'--workdir={tmp_path / "run"}')
    assert 'is no run on recordings: train configs/fsdd_sound.py' in message


def test_a_sample_of_each_digit_is_shown(experiment):
    labels = {'label': np.array([3, 1, 1, 3, 0])}
    np.testing.assert_array_equal(experiment._of_each(labels, 5), [4, 1, 0])
    np.testing.assert_array_equal(experiment._of_each({}, 5), np.arange(5))
