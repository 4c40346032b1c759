"""Every config builds, and the small ones run to their end."""

import importlib
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import build, runs
from diffusion_jax.data import sources
from diffusion_jax.data.pipeline import RawBatch
from diffusion_jax.state import init_state
from diffusion_jax.training import train
from tests import tiny

CONFIGS = Path(__file__).parents[1] / 'configs'
NAMES = sorted(p.stem for p in CONFIGS.glob('*.py') if p.stem not in ('__init__', 'common', 'methods'))
SHAPES = {'cifar10': (32, 32, 3), 'celeba64': (64, 64, 3), 'mnist': (28, 28, 1)}


@pytest.fixture
def _fake_sets(monkeypatch):
    def tfds(name, dir=None, split='train'):
        shape = SHAPES[name]
        return sources.Source(np.zeros((4, *shape), np.uint8), np.zeros(4, np.int32), 256, 10, f'{name}/{split}')

    monkeypatch.setattr(sources, 'tfds', tfds)


def config_of(name, arg=''):
    module = importlib.import_module(f'configs.{name}')
    config = build.resolve(module.get_config(arg))
    teacher = re.search(r'--config.init_from=runs/(\w+)', module.__doc__)
    return {**config, 'teacher': config_of(teacher[1], arg)} if teacher else config


@pytest.mark.usefixtures('_fake_sets')
@pytest.mark.parametrize('arg', ['', 'runlocal'])
@pytest.mark.parametrize('name', NAMES)
def test_every_config_builds(name, arg):
    config = config_of(name, arg)
    experiment = build.build(config)
    key = jax.random.key(0)
    params = jax.eval_shape(experiment.init, key)
    rows = experiment.source.x[np.arange(2)]
    raw = RawBatch(rows, None if experiment.source.label is None else experiment.source.label[np.arange(2)])
    # Losses, gradients and a sampler by their shapes alone: nothing is computed.
    start = jax.eval_shape(experiment.network_init, key)
    state = jax.eval_shape(
        init_state(experiment.init, experiment.tx, experiment.freezing, experiment.keeps_teacher), key, start
    )
    loss = jax.eval_shape(jax.grad(lambda p: experiment.loss(p, state.frozen, key, raw, jnp.int32(0))[0]), params)
    assert jax.tree.structure(loss) == jax.tree.structure(params)
    draw = build.build_draw(experiment, config['sample'])
    keys = jax.eval_shape(lambda: jax.random.split(key, 2))
    assert jax.eval_shape(draw, params, keys).shape == (2, *experiment.shape)
    assert json.loads(json.dumps(config))['train'] == config['train']
    if config['eval']['bits_num']:
        build.build_bound(experiment, experiment.source, config['eval']['variance'], config['eval']['bits_terms'])


@pytest.mark.usefixtures('_fake_sets')
def test_cifar10_is_the_papers_network():
    config = config_of('cifar10_ddpm')
    params = jax.eval_shape(build.build(config).init, jax.random.key(0))
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)) == 35_746_307
    assert config['optim'] == {'name': 'adam', 'lr': 2e-4, 'warmup': 5000, 'clip': 1.0}
    assert config['ema'] == {'name': 'constant', 'decay': 0.9999}
    assert config['train']['batch_size'] == 128
    assert config['train']['steps'] == 800_000
    assert config['data']['flip'] is True


def test_docstrings_name_their_command_cost_and_result():
    for name in NAMES:
        doc = importlib.import_module(f'configs.{name}').__doc__ or ''
        assert f'python -m diffusion_jax.train --config=configs/{name}.py' in doc
        assert 'Cost:' in doc
        assert 'Expected:' in doc


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
