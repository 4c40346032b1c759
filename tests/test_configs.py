"""Every config builds, and the small ones run to their end."""

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.builders import data
from diffusion_jax.builders.specs import make
from diffusion_jax.data import conditions, kinds, pipeline, sources
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from diffusion_jax.training.state import init_state
from diffusion_jax.training.step import make_train_step
from diffusion_jax.types import Condition, Masked
from tests import spoken, tiny

FEATURES = SimpleNamespace(
    __all__=['pca', 'pixels'], pca=lambda reference, dim: None, pixels=lambda shape: None
)  # what their specs may say
CONFIGS = Path(__file__).parents[1] / 'configs'
NAMES = sorted(p.stem for p in CONFIGS.glob('*.py') if p.stem not in ('__init__', 'common', 'methods'))
SHAPES = {'mnist': (28, 28, 1), 'cifar10': (32, 32, 3)}  # all others are 64x64
# By the time that their networks take to trace.
DATA = (
    *('toy2d', 'chain', 'digits', 'fields', 'shakespeare', 'quickstart', 'mnist', 'tiles', 'scenes', 'moving', 'fsdd'),
    *('cifar10', 'celeba64', 'imagenet64', 'sd15'),
)


def config_of(name, arg=''):
    module = importlib.import_module(f'configs.{name}')
    config = builders.resolve(module.get_config(arg))
    if config['objective'].get('distance', {}).get('name') == 'lpips':  # whose files are the user's
        config['objective']['distance'] = {'name': 'pseudo_huber'}
    teacher = re.search(r'--config.init_from=runs/(\w+)', module.__doc__)
    return {**config, 'teacher': config_of(teacher[1], arg)} if teacher else config


def network_of(name):
    config = config_of(name)
    return json.dumps([config['data']['name'], {**config['net'], 'dropout': 0}])


def one_of_each(kind):
    """For each kind of config the one on the smallest data."""
    last_wins = sorted(NAMES, key=lambda name: -DATA.index(name.split('_')[0]))
    return {kind(name): name for name in last_wins}.values()


# On other data they have another network alone.
METHODS = sorted(one_of_each(lambda name: name.removeprefix('moving_').partition('_')[2]))
BUILT = sorted({(n, 'runlocal') for n in NAMES} | {(n, '') for n in {*METHODS, *one_of_each(network_of)}})
# What the test command goes through; the rest is slow.
FAST = 'digits', 'toy2d', 'chain', 'mnist_ddpm', 'mnist_edm', 'cifar10_ddpm'
TRAINED = 'digits_cd', 'digits_edm', 'digits_ict', 'digits_meanflow', 'toy2d', 'chain_masked'


@pytest.fixture
def _fake_sets(monkeypatch):
    def tfds(name, dir=None, split='train', condition=None, text_length=64):
        shape = SHAPES.get(name, (64, 64, 3))
        cond = None if condition is None else np.zeros(4, np.int32)
        declared = None if condition is None else conditions.of_classes(1000 if 'imagenet' in name else 10)
        return sources.Source(np.zeros((4, *shape), np.uint8), cond, kinds.images(shape), declared, f'{name}/{split}')

    def latents(autoencoder=None, tokenizer=None, images=None, w=None):
        row = {
            'text': Masked(np.zeros(77, np.int32), np.ones(77, bool)),
            'w': Masked(np.full(1, w or 0, np.float32), np.asarray(w is not None)),
        }
        parts = {'text': conditions.tokens(77, 49_408), 'w': conditions.vector(1)}
        rows = jax.tree.map(lambda a: np.stack([a] * 4), row)
        x, told = np.zeros((4, 64, 64, 4), np.float32), Condition(parts, row, lambda text: row)
        return sources.Source(x, rows, kinds.latents(x.shape[1:]), told, f'latents of {images.name}')

    monkeypatch.setattr(sources, 'tfds', tfds)
    monkeypatch.setattr(sources, 'examples', spoken.examples)
    monkeypatch.setattr(data._NAMED, 'latents', latents)
    monkeypatch.setattr(sources, 'texts', lambda name, feature, dir, split: (f'{name}/{split}', ['To be, ' * 40]))


@pytest.mark.parametrize('arg', ['', 'runlocal'])
@pytest.mark.parametrize('name', NAMES)
def test_every_config_can_be_saved(name, arg):
    config = config_of(name, arg)
    saved = json.loads(json.dumps(config))
    assert builders.check(saved)['train'] == json.loads(json.dumps(config['train']))  # tuples are lists there
    assert (config['train']['steps'] == 20) == (arg == 'runlocal')
    make(FEATURES, config['eval']['features'], {'reference': None, 'shape': (1,)}, 'config.eval.features')


@pytest.mark.usefixtures('_fake_sets')
@pytest.mark.parametrize(
    ('name', 'arg'), [pytest.param(*case, marks=[pytest.mark.slow] * (not case[0].startswith(FAST))) for case in BUILT]
)
def test_every_config_builds(name, arg):
    config = config_of(name, arg)
    experiment = builders.build(config)
    if experiment.draws:
        builders.build_draw(experiment, config['sample'])
    if config['eval']['bits_num']:
        builders.build_bits(experiment, experiment.source, config['eval'])


@pytest.mark.usefixtures('_fake_sets')
@pytest.mark.parametrize('name', [pytest.param(n, marks=[pytest.mark.slow] * (n not in TRAINED)) for n in METHODS])
def test_every_method_trains_and_samples(name):
    """By shapes alone: nothing is computed."""
    config = config_of(name, 'runlocal')
    for part in filter(None, (config, config['teacher'])):
        if part['net']['name'] in ('EDM2', 'UNet', 'UNetEncoder'):
            part['net']['multipliers'] = (1,)  # the shallowest does as well
    experiment = builders.build(config)
    key, raw = jax.random.key(0), pipeline.batch_at(experiment.source, 0, 4)(0)  # a group of IMM's
    create = init_state(experiment.init, experiment.tx, experiment.targets, second=experiment.second)
    start = jax.eval_shape(experiment.start_init, key) if config['teacher'] else None
    learner = experiment.loss, experiment.tx, experiment.ema, experiment.targets
    step = make_train_step(*learner, second=experiment.second)
    state = jax.eval_shape(create, key, *experiment.taken(start))
    after, metrics = jax.eval_shape(step, state, key, raw)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(lambda a: (a.shape, a.dtype), state)
    assert {'loss', 'grad_norm'} <= metrics.keys()
    if not experiment.draws:
        return
    draw = builders.build_draw(experiment, config['sample'])
    keys = jax.eval_shape(lambda: jax.random.split(key, 2))
    assert jax.eval_shape(draw, state.ema, keys, jnp.arange(2)).shape == (2, *experiment.shape)


@pytest.mark.usefixtures('_fake_sets')
def test_cifar10_is_the_papers_network():
    config = config_of('cifar10_ddpm')
    params = jax.eval_shape(builders.build(config).init, jax.random.key(0))
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)) == 35_746_307
    optim = {'name': 'adam', 'lr': 2e-4, 'warmup': 5000, 'clip': 1.0, 'anneal': {'name': 'constant'}}
    assert config['optim'] == optim
    assert config['ema'] == {'name': 'constant', 'decay': 0.9999}
    assert config['train']['batch_size'] == 128
    assert config['train']['steps'] == 800_000
    assert config['data']['augment'] == {'name': 'flip'}


def test_docstrings_name_their_command_cost_and_result():
    for name in NAMES:
        doc = importlib.import_module(f'configs.{name}').__doc__ or ''
        assert f'python -m diffusion_jax.train --config=configs/{name}.py' in doc
        assert 'Cost:' in doc
        assert 'Expected:' in doc


@pytest.mark.slow
@pytest.mark.parametrize('name', ['quickstart', 'toy2d'])
def test_small_configs_run(name, tmp_path, capsys):
    config = config_of(name, 'runlocal')
    train(config, tmp_path)
    run = runs.load(tmp_path)
    assert run.step == config['train']['steps'] == 20
    assert (tmp_path / 'samples' / 'step_00000020.png').stat().st_size > 1000
    losses = [json.loads(line)['loss'] for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert losses[-1] < losses[0]
    if name == 'toy2d':  # for images the tests of these commands have a smaller run
        assert tiny.call('sample', f'--workdir={tmp_path}', '--num=4') == 0
        assert tiny.call('evaluate', f'--workdir={tmp_path}', '--num=40') == 0
        assert 'step 20, 40 samples, seed 0' in capsys.readouterr().out
