"""Flax checkpoints of score_sde and of the consistency models in JAX, against a restatement of their network."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

from diffusion_jax import builders, samplers, times
from diffusion_jax.conversion import incoming
from diffusion_jax.inference import runs
from diffusion_jax.interop import names, official
from tests import tiny
from tests.conversion.jcm_ncsnpp import NCSNpp
from tests.nets.cases import randomised

KINDS = {
    'NCSN++': (NCSNpp(8, (1, 2), 2), 16),
    'three_levels': (NCSNpp(8, (1, 1, 2), 1), 32),
    'DDPM++': (NCSNpp(16, (2, 2), 1, plus=False), 16),
}


def theirs(kind):
    net, size = KINDS[kind]
    params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, size, size, 3)), jnp.zeros(1))['params']
    params = randomised(params)
    if net.plus:
        params['GaussianFourierProjection_0']['W'] = 16 * jax.random.normal(jax.random.key(1), (net.channels,))
    return net, size, params


def write(path, params):
    """As score_sde's State: other weights, and what is none."""
    state = {'step': 3, 'lr': 2e-4, 'params': jax.tree.map(jnp.zeros_like, params), 'params_ema': params}
    path.write_bytes(serialization.to_bytes({**state, 'rng_state': np.array([0, 1], np.uint32)}))


@pytest.mark.slow
@pytest.mark.parametrize('kind', [pytest.param(k, marks=[pytest.mark.slow] * (k != 'DDPM++')) for k in KINDS])
def test_outputs_gradients_and_the_way_back(kind, tmp_path):
    net, size, params = theirs(kind)
    write(tmp_path / 'checkpoint_1', params)
    found = official.SOURCES['jcm_edm'](tmp_path / 'checkpoint_1', official.Asked(size=size))
    experiment = builders.build(incoming.config_of(found))
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    rows = found.rows(shapes)
    ours = names.take_in('it', found.what, found.weights, rows, shapes)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, size, size, 3)), jnp.float32)
    sigma = jnp.array([0.05, 3.0])

    def D(params):
        s = sigma[:, None, None, None]
        c_skip, c_out, c_in = 0.25 / (s**2 + 0.25), s * 0.5 / jnp.sqrt(s**2 + 0.25), 1 / jnp.sqrt(s**2 + 0.25)
        return c_skip * x + c_out * net.apply({'params': params}, c_in * x, jnp.log(sigma) / 4)

    expected = jax.jit(D)(params)
    got = jax.jit(lambda p: experiment.models.denoise(p)(x, sigma))(ours)
    for a, b in zip(got, expected, strict=True):
        assert np.abs(a - b).max() < 2e-5 * np.abs(b).max()
    back = names.give_out(rows, ours)
    assert back.keys() == found.weights.keys()
    for name, w in found.weights.items():
        np.testing.assert_array_equal(back[name], w)
    grads = jax.jit(jax.grad(lambda p: jnp.mean(experiment.models.denoise(p)(x, sigma) ** 2)))(ours)
    grads = names.give_out(rows, grads)
    write(tmp_path / 'gradients', jax.jit(jax.grad(lambda p: jnp.mean(D(p) ** 2)))(params))
    of_them = official.SOURCES['jcm_edm'](tmp_path / 'gradients', official.Asked(size=size)).weights
    largest = max(np.abs(g).max() for g in of_them.values())
    for name, g in of_them.items():
        assert np.abs(grads[name] - g).max() < 1e-3 * max(np.abs(g).max(), 1e-3 * largest), name


def converted(tmp_path, source, kind):
    net, size, params = theirs(kind)
    write(tmp_path / 'checkpoint_1', params)
    command = ['convert', f'--from={source}', f'--in={tmp_path}/checkpoint_1', f'--workdir={tmp_path}/run']
    assert tiny.call(*command, f'--size={size}') == 0
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, size, size, 3)), jnp.float32)
    return jax.jit(lambda x, c: net.apply({'params': params}, x, c)), runs.load(tmp_path / 'run'), x


@pytest.mark.slow
def test_a_consistency_model_is_told_a_quarter_of_ln_sigma(tmp_path):
    net, run, x = converted(tmp_path, 'jcm', 'three_levels')
    t = jnp.array([0.7, 80.0])
    s = t[:, None, None, None]
    c_skip, c_out = 0.25 / ((s - 0.002) ** 2 + 0.25), (s - 0.002) * 0.5 / jnp.sqrt(s**2 + 0.25)
    expected = c_skip * s * x + c_out * net(s * x / jnp.sqrt(s**2 + 0.25), 0.25 * jnp.log(t))
    got = run.experiment.models.consistency(run.params)(s * x, t)
    assert np.abs(got - expected).max() < 2e-5 * np.abs(expected).max()
    assert run.config['sample']['sampler'] == {'name': 'renoise'}
    assert run.config['sample']['times']['n'] == 1


@pytest.mark.slow
def test_ten_steps_of_heun(tmp_path):
    net, run, x = converted(tmp_path, 'jcm_edm', 'three_levels')
    sampler = samplers.heun(run.experiment.models.denoise(run.params), run.experiment.schedule)
    grid = jnp.asarray(times.karras(10), jnp.float32)
    got = jax.jit(lambda x: samplers.sample(sampler, jax.random.key(0), x, grid))(80 * x)

    def slope(y, s):
        y32, sigma = jnp.asarray(y, jnp.float32), jnp.full(2, s, jnp.float32)
        F = np.asarray(net(y32 / np.float32(np.sqrt(s**2 + 0.25)), jnp.log(sigma) / 4), np.float64)
        return (y - (0.25 * y / (s**2 + 0.25) + s * 0.5 / np.sqrt(s**2 + 0.25) * F)) / s

    y = 80 * np.asarray(x, np.float64)
    for s, r in itertools.pairwise(times.karras(10)):
        d = slope(y, s)
        y = y + (r - s) * (d if r == 0 else (d + slope(y + (r - s) * d, r)) / 2)
    assert np.abs(got - y).max() < 1e-4 * np.abs(y).max()


@pytest.mark.slow
def test_score_sde_is_told_ln_sigma_of_images_from_0_to_1_or_999_t(tmp_path):
    """Its score: of x in [0, 1] with NCSN++, x = (1 + x') / 2 of x' in [-1, 1], and of x' with DDPM++."""
    (tmp_path / 've').mkdir()
    net, run, x = converted(tmp_path / 've', 'score_sde', 'three_levels')
    sigma = jnp.array([0.03, 20.0])  # of x in [0, 1]
    s = sigma[:, None, None, None]
    noisy = 0.5 + s * x
    x_0 = noisy + s**2 * net(2 * noisy - 1, jnp.log(sigma)) / s
    got = run.experiment.models.denoise(run.params)(2 * noisy - 1, 2 * sigma)
    assert np.abs(got - (2 * x_0 - 1)).max() < 2e-5 * np.abs(x_0).max()
    (tmp_path / 'vp').mkdir()
    net, run, x = converted(tmp_path / 'vp', 'score_sde', 'DDPM++')
    t = jnp.array([0.2, 0.9])
    integral = 0.1 * t + 0.5 * 19.9 * t**2
    alpha, std = (f[:, None, None, None] for f in (jnp.exp(-integral / 2), jnp.sqrt(-jnp.expm1(-integral))))
    got = run.experiment.models.denoise(run.params)(x, t)
    expected = (x - std * net(x, 999 * t)) / alpha
    for a, b in zip(got, expected, strict=True):
        assert np.abs(a - b).max() < 5e-5 * np.abs(b).max()


def test_what_is_none_of_them_is_refused(tmp_path, capsys):
    _, _, params = theirs('three_levels')
    file = tmp_path / 'checkpoint_1'
    command = ['convert', '--from=jcm', f'--in={file}', f'--workdir={tmp_path}/run']

    def told(content, *more):
        file.write_bytes(content)
        return tiny.refusal(capsys, *command, *more)

    assert tiny.refusal(capsys, *command, '--size=32') == f'cannot read {file}: No such file or directory'
    whole = serialization.to_bytes({'params': params})
    assert told(whole).endswith('does not say the size of an image: set --size')
    assert told(whole, '--size=32', '--heads=2').startswith('of these weights --size alone must be said')
    assert told(whole[:-9], '--size=32').startswith(f'{file} is no checkpoint of Flax that can be read')
    assert told(b'\x91\x01', '--size=32').endswith('it holds a list, no names')
    line = 'no NCSN++ of 8 pixels that attends at 16: set the --size that it was trained for'
    assert told(whole, '--size=8').endswith(line)
    some = {'params': {'Conv_0': params['Conv_0']}}
    assert 'and looks like nothing known here' in told(serialization.to_bytes(some), '--size=32')
    few = {name: p for name, p in params.items() if name != 'Downsample_1' and name != 'Downsample_0'}
    line = told(serialization.to_bytes({'params': few}), '--size=32')
    assert line.endswith('is neither an NCSN++ nor a DDPM++ as they were published')
    odd = {**params, 'more': {'kernel': np.zeros(2, np.float32)}}
    assert told(serialization.to_bytes({'params': odd}), '--size=32').endswith('left over are more.weight')
