"""Runs of which files say all there is to say, and models that are traced and draw nothing."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import digits_classes
from diffusion_jax import builders
from diffusion_jax.inference import generate, runs, sample_file
from diffusion_jax.training import checkpoint
from diffusion_jax.training import run as training
from diffusion_jax.training.run import train
from tests import tiny
from tests.fuzz.commands import REQUESTS


@pytest.fixture(scope='package')
def trained(tmp_path_factory):
    """Folders of runs: points, digits, digits under classes, pictures under texts."""
    folder = tmp_path_factory.mktemp('runs')
    classes = digits_classes.get_config('runlocal')
    classes.net.multipliers = (1, 1)
    classes.train.update(steps=2, save_every=2, sample_every=0)
    classes.sample.times.n = 3
    classes = builders.resolve(classes)
    made = {'points': tiny.points(steps=2, save_every=2), 'digits': tiny.digits(steps=2), 'classes': classes}
    made['texts'] = {**classes, 'data': {'name': 'tests.fuzz.commands.captioned', 'drop_cond': 0.1}}
    made['texts'] = {**made['texts'], 'eval': {**classes['eval'], 'held_out': None}}

    def saved(step, state, key, source, config, workdir, mesh, manager, draw_samples):
        checkpoint.save(manager, state, {'loss': 1.0}, {'config': config})
        checkpoint.wait(manager)
        return state

    for name, config in made.items():
        config['eval'] |= {'num': 16, 'batch_size': 8}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, '_fit', saved)
            train(config, folder / name)
        (folder / name / 'grids').mkdir()
        (folder / name / 'grids' / 'good.json').write_text('{"times": [1.0, 0.5, 0.0]}')
    return folder


@pytest.fixture(scope='package', autouse=True)
def _only_the_drawing_is_another(trained, tmp_path_factory):
    """Models are traced, which finds what does not fit, and give zeros; opened runs are kept open."""
    fill, load, kept = sample_file.fill, runs.load, functools.cache(runs.load)

    def opened(workdir, which='newest', mesh=None, sigma_rel=None, changes=None):
        if changes or Path(workdir).parent != trained:
            return load(workdir, which, mesh, sigma_rel, changes)
        return kept(workdir, which, mesh, sigma_rel)

    def zeros(drawing, key, num, first=0):
        size = -(-min(drawing.batch_size, num) // drawing.mesh.size) * drawing.mesh.size
        index = jax.ShapeDtypeStruct((size,), np.int32)
        keys = jax.eval_shape(lambda k: jax.random.split(k, size), key)
        shape = jax.eval_shape(drawing.draw, drawing.params, keys, index).shape
        for start in range(first, num, size):
            yield np.random.default_rng(start).uniform(-1, 1, (min(size, num - start), *shape[1:])).astype(np.float32)

    def bits(run, source, num, seed=0, method=None):
        found = builders.build_bits(run.experiment, source, run.config['eval'], method)
        x = jax.ShapeDtypeStruct((2, *run.experiment.shape), np.float32)
        jax.eval_shape(found.evaluate, run.params, jax.random.key(seed), x, run.experiment.nothing(2))
        return {'bits/dim': 1.0, 'standard error': None, 'rows': num}

    def fitted(step, state, key, experiment, config, workdir, mesh, manager, draw_samples):
        jax.eval_shape(step, state, key, next(training._batches(experiment.source, config, 0, mesh)))
        with training.Log(workdir, int(state.step), config['train']['steps']) as log:
            log.write(int(state.step) + 1, {'loss': 1.0})
        (workdir / 'trained').write_text('')
        return state

    def filled(path, request, num, *more):
        REQUESTS.append({**request, 'num': num})
        return fill(path, request, num, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('HOME', str(tmp_path_factory.mktemp('home')))
        patch.setattr(runs, 'load', opened)
        patch.setattr(runs, 'batches', zeros)
        patch.setattr(generate, 'batches', zeros)
        patch.setattr(sample_file, 'fill', filled)
        patch.setattr(runs, 'bits_per_dim', bits)
        patch.setattr(training, '_fit', fitted)
        yield
