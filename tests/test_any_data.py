"""What every kind of data and condition promises, with a network of twenty lines: add a row, inherit the contract.

Train, go on, sample, guide, measure, edit: every command takes it, and a file holds what was drawn to the last bit.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.data.quantise import to_levels
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from tests import newcomer, tiny

# source: what can be asked of a model of it, what its files hold, the suffixes of what shows it
ROWS = {
    'text': ('row:index=3', np.float32, set()),
    'video': ('label:value=up', np.uint8, {'.gif'}),
    'waveform': ('row:index=5', np.float32, {'.png', '.wav'}),
    'audio': ('label:value=loud=2+channel=1', np.int16, {'.png', '.wav'}),
    'latents': (None, np.float32, {'.png'}),
    'flow': ('row:index=1', np.float32, {'.png'}),
}


def config(name, steps):
    """A run of this source; a conditional one drops conditions, so that it can be guided."""
    base = tiny.points(steps=steps, batch_size=8, log_every=1, save_every=2)
    drops = None if ROWS[name][0] is None else 0.3
    data = {'name': f'tests.newcomer.{name}', 'split': 'train', 'drop_cond': drops}
    measured = {**base['eval'], 'num': 64, 'batch_size': 64, 'held_out': 'test', 'reference': 'train'}
    at_once = {**base['train'], 'sample_every': 3}
    return {**base, 'data': data, 'net': {'name': 'tests.newcomer.Tiny'}, 'eval': measured, 'train': at_once}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The workdirs of runs that were stopped and gone on with, and of the same runs in one go; each made once."""
    made = {}

    def of(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            train(config(name, 2), folder / 'run')
            state = train(config(name, 4), folder / 'run', allow_config_change=True)
            whole = train(config(name, 4), folder / 'whole')
            jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(whole))
            made[name] = folder / 'run'
        return made[name]

    return of


def sampled(workdir, out, *arguments):
    assert tiny.call('sample', f'--workdir={workdir}', f'--out={out}', '--sampler=ddim', '--steps=2', *arguments) == 0
    with np.load(f'{out}.npz') as file:
        return dict(file)


@pytest.mark.slow
@pytest.mark.parametrize('name', ROWS)
def test_any_data_goes_through_every_command(name, trained, tmp_path):
    asked, stored, shown = ROWS[name]
    workdir = trained(name)
    assert {p.suffix for p in (workdir / 'samples').iterdir()} == shown
    cond = [] if asked is None else [f'--cond={asked}']
    x = sampled(workdir, tmp_path / 'x', '--num=5', *cond)['samples']
    assert x.dtype == stored
    assert {p.suffix for p in tmp_path.iterdir()} == {'.npz', *shown}

    run = runs.load(workdir)
    kind = run.experiment.source.kind
    spec = runs.sample_spec(run.config['sample'], runs.Choices('ddim', 2, cond=asked))
    drawn = runs.draw(run, spec, 5)
    np.testing.assert_array_equal(x, kind.store(drawn))
    if kind.levels is None:
        np.testing.assert_array_equal(x, drawn)
    else:
        np.testing.assert_array_equal(to_levels(kind.read(x), kind.levels), to_levels(drawn, kind.levels))
    np.testing.assert_array_equal(kind.store(kind.read(x)), x)

    if asked is not None:
        guided = sampled(workdir, tmp_path / 'g', '--num=5', *cond, '--guidance=classifier_free:w=3.0')['samples']
        assert (guided != x).any()
    told = [*cond, '--features=pixels']
    assert tiny.call('evaluate', f'--workdir={workdir}', '--sampler=ddim', '--steps=2', *told) == 0
    (result,) = json.loads((workdir / 'metrics.json').read_text()).values()
    assert result['protocol']['conditions'] == ('none' if asked is None else runs.name_of(spec['cond']))
    assert result['protocol']['levels'] == kind.levels

    hidden = np.zeros(kind.shape, bool)
    hidden[kind.shape[0] // 2 :] = True
    np.save(tmp_path / 'mask.npy', hidden)
    np.save(tmp_path / 'given.npy', x[:2])
    files = [f'--image={tmp_path}/given.npy', f'--mask={tmp_path}/mask.npy']
    edited = sampled(workdir, tmp_path / 'e', '--num=2', '--edit=inpaint', *files, *cond)
    np.testing.assert_array_equal(edited['samples'][:, ~hidden], x[:2].repeat(2, 0)[:, ~hidden])
    np.testing.assert_array_equal(edited['original'], x[:2])
    assert (edited['samples'][:, hidden] != edited['given'].repeat(2, 0)[:, hidden]).any()


@pytest.mark.parametrize('name', ['text', 'video', 'audio', 'flow', 'waveform'])
def test_what_is_told_reaches_the_network_of_its_own_row(name):
    """A loss that is the model's own answer: another row's condition changes that row's answer alone."""
    experiment = builders.build(config(name, 1))
    params = jax.tree.map(lambda a: a + 0.1, jax.jit(experiment.init)(jax.random.key(0)))
    index, x = np.arange(6), jax.random.normal(jax.random.key(1), (6, *experiment.shape))
    cond = newcomer.__dict__[name]().cond
    cond = jax.tree.map(lambda a: a[index], cond)
    answer = jax.jit(lambda cond: experiment.models.denoise(params, cond, None)(x, jnp.full(6, 0.5)))
    of_row_2 = jax.tree.map(lambda a: np.concatenate([a[:4], a[2:3], a[5:]]), cond)
    changed = np.asarray(answer(cond) != answer(of_row_2)).reshape(6, -1).any(1)
    same_row = all((a[4] == a[2]).all() for a in jax.tree.leaves(cond))
    np.testing.assert_array_equal(changed, (index == 4) & (not same_row))
    told_nothing = np.asarray(answer(experiment.nothing(6)) != answer(cond)).reshape(6, -1).any(1)
    assert told_nothing.all()
