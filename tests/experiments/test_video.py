"""The command on clips: with a model that knows the held-out clips by heart it must find the law, and go on by it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import moving_digits, moving_digits_cd
from diffusion_jax import builders
from diffusion_jax.devices import sharding
from diffusion_jax.evaluation import classifier
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.nets.classifier import Classifier
from diffusion_jax.training.run import train
from diffusion_jax.types import Models
from tests import tiny

FRAMES, KNOWN = 6, 32


def config_of(module=moving_digits, told=True):
    config = module.get_config('runlocal')
    config.data.update(frames=FRAMES, n=256)
    if not told:
        config.data.images.condition, config.data.drop_cond = None, None
    config.net.update(channels=4, head_channels=4, multipliers=(1,))
    config.train.update(steps=2, save_every=2, sample_every=0, batch_size=8)
    config.sample.update(batch_size=16)
    config.eval.update(batch_size=16)
    return {**builders.resolve(config), 'teacher': None}


def by_heart(source):
    """E[x_0 | x_t] where the data are the first clips of a source, those of the class that is told alone."""
    x, label = jnp.asarray(Values(source)[:KNOWN]), jnp.asarray(source.cond[np.arange(KNOWN)])

    def model(params, cond, key):
        def denoise(x_t, t):
            square = ((x_t[:, None] - x[None]) ** 2).sum((2, 3, 4, 5))
            logits = -square / (2 * t[:, None] ** 2)
            if cond is not None:
                logits = jnp.where(label[None] == cond[:, None], logits, -jnp.inf)
            return jnp.einsum('bk,kthwc->bthwc', jax.nn.softmax(logits, axis=1), x)

        return denoise

    return model


@pytest.fixture
def _untrained(monkeypatch):
    """A judge of digits that has learnt nothing: what depends on it is for the slow test."""
    params = Classifier(10).init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    monkeypatch.setattr(classifier, 'fit', lambda source, key, steps: params)


def run_of(config):
    test = builders.build_source(
        {**config['data'], 'images': {**config['data']['images'], 'condition': 'label'}}, 'test'
    )
    experiment = builders.build(config)._replace(models=Models(denoise=by_heart(test)))
    return runs.Run(config, experiment, {}, 0, sharding.make_mesh())


def tables(folder):
    found = [{}]
    for line in (folder / 'table.md').read_text().splitlines():
        if not line:
            found.append({})
        elif not line.startswith(('|---', '| clips')):
            name, *cells = (cell.strip() for cell in line.split('|')[1:-1])
            found[-1][name] = [float(cell.partition(' ±')[0]) if cell else None for cell in cells]
    return found


@pytest.fixture(scope='module')
def experiment():
    """The experiment's module, whose flags are defined by its import: taken away again at once."""
    from absl import flags

    defined = {*flags.FLAGS}
    from experiments import video as module

    for flag in {*flags.FLAGS} - defined:
        delattr(flags.FLAGS, flag)
    return module


@pytest.mark.slow
@pytest.mark.usefixtures('_untrained')
@pytest.mark.parametrize('told', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_model_that_knows_the_clips_moves_and_goes_on_by_the_law(told, tmp_path, monkeypatch):
    run, out = run_of(config_of(told=told)), tmp_path / 'video'
    monkeypatch.setattr(runs, 'load', lambda workdir: run)
    arguments = f'--workdir={tmp_path}', '--num=24', '--reference=100', '--sampling=ddim@10', '--repeats=6'
    assert tiny.call('experiments.video', *arguments) == 0
    drawn, going = tables(out)
    real, ours, shuffled = drawn['as they are'], drawn['ddim-10'], drawn['frames shuffled']
    assert ours[:2] == [10, 24]
    assert real[2] == ours[2] == 100  # by the law
    assert max(real[3], ours[3]) < 0.02 < 0.5 < shuffled[3]  # position
    assert max(real[4], ours[4]) < 0.03 < 1 < shuffled[4]  # speed
    assert ours[5] == pytest.approx(real[5], abs=0.08)  # shape
    assert shuffled[9] > 2 * real[9]  # motion
    assert (ours[7] is None) is not told
    assert going['the clips themselves'][2:5] == [0, 0, 0]
    assert going['the law that fits the given frames'][3] < 0.1
    assert going['ddim-10'][:3] == [60, 24, 0]  # evaluations; given frames are kept to the last bit
    assert going['ddim-10'][3] < 0.8 < 1.5 < going['the last given frame held'][3]  # projection is not the posterior
    with Image.open(out / 'video.gif') as film:
        assert film.n_frames == FRAMES
    assert (out / 'video.png').stat().st_size > 5000
    about = json.loads(next(out.glob('ddim-10_*_given=3_repeats=6.json')).read_text())
    assert about['sample']['times']['n'] == 10
    stamps = {path: path.stat().st_mtime_ns for path in [*out.glob('*.json'), *out.glob('*.npz')]}
    assert len(stamps) == 3
    (out / 'video.gif').unlink()
    assert tiny.call('experiments.video', *arguments) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert (out / 'video.gif').exists()


@pytest.mark.slow
@pytest.mark.usefixtures('_untrained')
def test_training_clips_have_no_distance_and_shares_are_of_all_clips(experiment, tmp_path):
    source = builders.build_source({**config_of()['data'], 'slowest': 0.0})
    by = experiment.judges(source, tmp_path / 'label.npz', 100, 1, 0)
    by = by._replace(digit=Features('three', lambda x: Outputs(None, None, np.eye(10)[np.full(len(x), 3)]), ''))
    x = Values(source)[:100]
    row = experiment.measured(x, np.repeat([3, 4], [25, 75]), by)
    assert row.values['label'] == 0.25
    assert row.errors['label'] == pytest.approx(np.sqrt(0.25 * 0.75 / 99))
    assert row.values['one class'] == 1
    assert row.values['frames'] == pytest.approx(0, abs=1e-6)
    assert row.values['motion'] == pytest.approx(0, abs=1e-6)
    held = experiment.measured(np.repeat(x[:, :1], FRAMES, axis=1), None, by)
    assert held.values['motion'] > 0.1
    assert held.errors['motion'] == pytest.approx(0, abs=1e-6) != held.errors['frames']  # all stand still alike
    assert 'label' not in held.values
    table = experiment.table({'real': row}, {'label': ('the digit, %', 100), 'frames': ('frames', 1)}, {'real': 7})
    assert '| real | 7 | 100 | 25.0 ± 4.4 | 0.000 ± ' in table
    assert experiment.continuation(x, x[::-1], 3, by).values['kept'] > 0.5


def test_what_does_not_fit_is_one_line(tmp_path, capsys, monkeypatch):
    run = run_of(config_of())
    monkeypatch.setattr(runs, 'load', lambda workdir: run)
    for argument, said in (
        ('--sampling=ddim', '--sampling=ddim: the form is SAMPLER@STEPS, such as ddim@50'),
        ('--given=6', '--given=6: clips of this run have 6 frames, and one must be left to draw'),
    ):
        assert tiny.refusal(capsys, 'experiments.video', f'--workdir={tmp_path}', argument) == said
    points = run._replace(config={**tiny.points(), 'teacher': None})
    monkeypatch.setattr(runs, 'load', lambda workdir: points)
    line = tiny.refusal(capsys, 'experiments.video', f'--workdir={tmp_path}')
    assert line.endswith('is no run on moving_digits: train configs/moving_digits.py')


@pytest.mark.slow
def test_a_run_and_its_consistency_model_are_measured(tmp_path):
    train(config_of(), tmp_path / 'run')
    arguments = '--num=12', '--reference=100', '--judge_steps=20'
    sampling = '--sampling=heun@2', '--sampling=ancestral:variance=small@2', '--weight=2', '--weight=1'
    assert tiny.call('experiments.video', f'--workdir={tmp_path / "run"}', *arguments, *sampling) == 0
    drawn, going = tables(tmp_path / 'run' / 'video')
    assert drawn['as they are'][7] > 30  # the judge has learnt something of digits
    assert drawn['heun-2, w = 2'][0] == 6
    assert drawn['ancestral-2'][0] == 2
    assert going['ancestral-2, w = 2'][2] == 0

    config = builders.with_teacher({**config_of(moving_digits_cd), 'init_from': str(tmp_path / 'run')}, tmp_path / 'cd')
    train(config, tmp_path / 'cd')
    judge = f'--judge={tmp_path / "run" / "video" / "label.npz"}'
    assert tiny.call('experiments.video', f'--workdir={tmp_path / "cd"}', judge, *arguments) == 0
    drawn, going = tables(tmp_path / 'cd' / 'video')
    assert [drawn[f'consistency, {n}'][0] for n in ('2 steps', '1 step')] == [2, 1]
    assert [going[f'consistency, {n}'][2] for n in ('2 steps', '1 step')] == [0, 0]
    assert not (tmp_path / 'cd' / 'video' / 'label.npz').exists()
