"""Masked diffusion by the commands, and by the builders with an exact model in the place of the network."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from configs import chain_masked
from diffusion_jax import builders
from diffusion_jax.builders.specs import parse_spec
from diffusion_jax.data import markov
from diffusion_jax.data.quantise import to_levels
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from diffusion_jax.types import Models
from tests import enumerated, tiny

pytestmark = pytest.mark.slow

K, L = 3, 3
CHAIN = markov.cyclic(K, 0.2, 0.3)


def config_of(**sample):
    config = chain_masked.get_config('runlocal')
    config.data.update(n=256, length=L, condition='label', drop_cond=0.1)
    config.data.chain.update(k=K, stay=0.2, jump=0.3)
    config.train.update(sample_every=0)
    return {**builders.resolve(config), 'teacher': None}


def given_the_first(params, cond, key):
    """The exact model of a chain whose first symbol is told, or not: K."""
    exact = markov.categorical(CHAIN)

    def categorical(x, t):
        told = jnp.where(cond < K, cond, x[:, 0, 0])
        seen = x.at[:, 0, 0].set(told)
        logits, first = exact(seen, t), jax.nn.one_hot(told, K)
        certain = jnp.log(jnp.maximum(first, 1e-9))
        return logits.at[:, 0, 0].set(jnp.where((cond < K)[:, None], certain, logits[:, 0, 0]))

    return categorical


def exactly(config, model=given_the_first):
    return builders.build(config)._replace(models=Models(categorical=model))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('text')
    train(config_of(), path)
    return path


def pairs_of(values):
    return np.bincount(np.ravel_multi_index(to_levels(values, K)[..., 0].T, (K,) * L), minlength=K**L)


def test_what_is_drawn_are_values_of_the_law():
    config, n = config_of(), 3000
    spec = {**config['sample'], 'times': {'name': 'uniform', 'n': 100}, 'cond': {'name': 'nothing'}}
    draw = jax.jit(builders.build_draw(exactly(config), spec))
    values = draw({}, jax.random.split(jax.random.key(0), n), jnp.arange(n))
    assert values.dtype == jnp.float32
    assert set(np.unique(values)) == {-1, 0, 1}
    p = enumerated.joint(*(np.asarray(a, np.float64) for a in CHAIN), L)
    assert chisquare(pairs_of(values), n * p / p.sum()).pvalue > 1e-3
    guided = jax.jit(builders.build_draw(exactly(config), {**spec, 'cond': {'name': 'label', 'value': 'B'}}))
    assert (np.asarray(guided({}, jax.random.split(jax.random.key(0), 20), jnp.arange(20)))[:, 0] == 0).all()


def test_guidance_of_weight_one_is_none():
    config, keys = config_of(), jax.random.split(jax.random.key(0), 50)
    spec = {**config['sample'], 'cond': {'name': 'label', 'value': 'B'}}
    one, two, none = (
        jax.jit(builders.build_draw(exactly(config), {**spec, 'guidance': guide}))({}, keys, jnp.arange(50))
        for guide in ({'name': 'classifier_free', 'w': 1.0}, {'name': 'classifier_free', 'w': 3.0}, None)
    )
    np.testing.assert_array_equal(one, none)
    assert (two != none).any()


def test_the_bits_of_the_exact_model_are_those_of_the_law():
    """Row by row the bound's mean is -log p of the row, given its first symbol."""
    config = config_of()
    config['eval'] = {**config['eval'], 'bits_terms': 100, 'batch_size': 128}
    run = runs.Run(config, exactly(config), {}, 0, sharding.make_mesh())
    source = runs.held_out(run)
    bits = runs.bits_per_dim(run, source, 256)
    rows = jnp.asarray(np.asarray(source.x, np.int32))
    nats = -np.asarray(markov.log_prob(CHAIN, rows) - jnp.log(CHAIN.initial)[rows[:, 0, 0]])
    expected = nats.mean() / L / np.log(2)
    assert abs(bits['bits/dim'] - expected) < 0.03 * expected
    np.testing.assert_allclose(np.mean(bits['by time']), bits['bits/dim'], rtol=1e-4)
    assert bits['rows'] == 256


def test_given_tokens_come_back(folder, tmp_path):
    np.save(tmp_path / 'given.npy', np.array([[2, 0, 1]], np.uint8)[..., None])
    np.save(tmp_path / 'mask.npy', np.array([False, True, False]))
    files = [f'--image={tmp_path}/given.npy', f'--mask={tmp_path}/mask.npy', f'--out={tmp_path}/out']
    code = tiny.call('sample', f'--workdir={folder}', '--edit=inpaint', '--sampler=remask:eta=0.5', '--num=9', *files)
    assert code == 0
    with np.load(tmp_path / 'out.npz') as arrays:
        x = arrays['samples'][..., 0]
    assert (x[:, [0, 2]] == [2, 1]).all()
    assert len(set(x[:, 1])) > 1
    lines = (tmp_path / 'out.txt').read_text().splitlines()
    assert [line[0] + line[2] for line in lines] == ['CB'] * 9


def test_the_commands(folder, tmp_path, capsys):
    assert tiny.call('sample', f'--workdir={folder}', '--num=5', '--sampler=unmask_confident:top_p=0.9',
                     '--guidance=classifier_free:w=2.0', f'--out={tmp_path}/x') == 0  # fmt: skip
    lines = (tmp_path / 'x.txt').read_text().splitlines()
    assert len(lines) == 5
    assert all(len(line) == L and set(line) <= set('ABC') for line in lines)
    assert tiny.call('evaluate', f'--workdir={folder}', '--num=40', '--bits_num=16') == 0
    assert 'bits/dim on chain/n=256,length=3,seed=0/test, step 20' in capsys.readouterr().out


REFUSED = {
    '--sampler=ddim': 'use remask, unmask, unmask_confident',
    '--guidance=classifier_free:w=2.0,rescale=0.5': 'rescale is of an x_0 of real numbers',
    '--edit=sdedit:t0=0.5': 'sdedit is of real numbers, and this run has tokens: use inpaint',
    '--parallel=picard:window=4': 'tokens come nearer to no limit',
}


@pytest.mark.parametrize('flag', REFUSED)
def test_what_is_of_real_numbers_is_refused(folder, capsys, flag):
    assert REFUSED[flag] in tiny.refusal(capsys, 'sample', f'--workdir={folder}', '--num=4', flag)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('schedule', 'CosineVP', r'masking needs a schedule with alpha \+ sigma = 1'),
        ('data', 'mixture:n=8,seed=0', 'masked diffusion is of quantised data, and these are continuous'),
        ('data', 'digits', 'config.net'),
    ],
)
def test_what_cannot_be_masked_is_refused(field, value, message):
    config = config_of()
    config[field] = parse_spec(value)
    if 'mixture' in value:
        config['data']['components'] = {'name': 'ring'}
    if value == 'digits':
        config['net'] = {'name': 'MLP'}
    with pytest.raises(UserError, match=message):
        builders.build(config)


def test_the_page_runs():
    """The bound of the exact model on its own samples, each against the chain's closed form."""
    page = (Path(__file__).parents[1] / 'docs' / 'text.md').read_text()
    found = {}
    exec(re.search(r'```python\n(.*?)```', page, re.DOTALL)[1], found)
    expected = -markov.log_prob(found['chain'], found['x']) / 16 / jnp.log(2)
    np.testing.assert_allclose(found['bits'], expected, atol=0.5)
    assert abs((found['bits'] - expected).mean()) < 0.15
    assert f'{markov.entropy(found["chain"], 16) / 16 / np.log(2):.4f}' in page
