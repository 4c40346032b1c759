"""Sums, layers and a network that keep magnitudes; against PyTorch in tests/conversion/test_edm2.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from diffusion_jax.nets import EDM2, MPLogWeight, functional
from diffusion_jax.nets.magnitude import MPFourier, MPLayer, mp_cat, mp_silu, mp_sum, normalised
from diffusion_jax.types import Masked, Part

RNG = np.random.default_rng(0)


def unit(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def rms(x, axis=None):
    return np.sqrt(np.mean(np.square(np.asarray(x, np.float64)), axis=axis))


def test_what_is_normalised_has_magnitude_one_but_for_eps():
    x = unit(4, 6, 8) * jnp.array([3.0, 0.02, 1e3, 0.5])[:, None, None]
    r = rms(x, (1, 2))
    np.testing.assert_allclose(rms(normalised(x, (1, 2)), (1, 2)), r / (r + 1e-4), rtol=1e-6)


def test_zeros_stay_and_have_the_slope_of_eps():
    jacobian = jax.jacobian(lambda x: normalised(x, (0,)))(jnp.zeros(3))
    np.testing.assert_allclose(jacobian, 1e4 * np.eye(3), rtol=1e-6)


def test_silu_keeps_the_magnitude_of_unit_normal_numbers():
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    second_moment = weight @ np.asarray(mp_silu(jnp.asarray(z, jnp.float32)), np.float64) ** 2 / np.sqrt(2 * np.pi)
    assert abs(second_moment - 1) < 2e-3  # 0.596 has three digits


@pytest.mark.parametrize('t', [0.3, 0.5])
def test_sums_and_concatenations_keep_the_sum_of_squares(t):
    one, zero = jnp.ones((1, 3)), jnp.zeros((1, 3))
    a, b = mp_sum(one, zero, t)[0, 0], mp_sum(zero, one, t)[0, 0]
    np.testing.assert_allclose([a**2 + b**2, b / a], [1, t / (1 - t)], rtol=1e-6)
    both = np.asarray(mp_cat(jnp.ones((1, 3)), jnp.ones((1, 5)), t), np.float64)[0]
    first, second = (both[:3] ** 2).sum(), (both[3:] ** 2).sum()
    np.testing.assert_allclose([(first + second) / 8, second / first], [1, (t / (1 - t)) ** 2], rtol=1e-6)


@pytest.mark.parametrize('space', [(7,), (4, 6, 5)])
def test_a_convolution_against_scipy(space):
    """Whose weights have unit length for each output, whatever they are."""
    layer, x = MPLayer(2, (3,) * len(space)), unit(1, *space, 3)
    w = jnp.concatenate([5 * unit(*(3,) * len(space), 3, 1), 0.1 * unit(*(3,) * len(space), 3, 1)], axis=-1)
    got = layer.apply({'params': {'mp_direction': w}}, x, 0.7)
    w = np.asarray(w, np.float64)
    w = 0.7 * w / np.sqrt((w**2).sum(tuple(range(w.ndim - 1))))
    for i in range(2):
        want = sum(signal.correlate(np.asarray(x, np.float64)[0, ..., j], w[..., j, i], 'same') for j in range(3))
        np.testing.assert_allclose(got[0, ..., i], want, rtol=0, atol=3e-3 * np.abs(want).max())  # eps is not in w


def test_weights_begin_with_magnitude_one_and_keep_that_of_what_goes_through():
    layer, x = MPLayer(256), unit(64, 128)
    params = layer.init(jax.random.key(0), x)['params']
    np.testing.assert_allclose(rms(params['mp_direction'], 0), 1, atol=1.5e-4)
    assert abs(rms(layer.apply({'params': params}, x)) - 1) < 0.02
    waves = MPFourier(512)
    drawn = waves.init(jax.random.key(1), jnp.zeros(1))['params']
    c = jnp.linspace(-2.0, 2.0, 64)
    assert abs(rms(waves.apply({'params': drawn}, c)) - 1) < 0.05
    assert abs(np.std(drawn['frequencies']) / (2 * np.pi) - 1) < 0.1
    assert 0 <= drawn['phases'].min() < 0.1 < 6.1 < drawn['phases'].max() < 2 * np.pi
    grads = jax.grad(lambda p: waves.apply({'params': p}, c).sum())(drawn)
    assert not any(g.any() for g in jax.tree.leaves(grads))


def test_u_against_numpy():
    net, c = MPLogWeight(16), jnp.linspace(-1.5, 1.0, 5)
    params = net.init(jax.random.key(0), c)['params']
    f, phase = (np.asarray(params['fourier'][n], np.float64) for n in ('frequencies', 'phases'))
    w = np.asarray(params['out']['mp_direction'], np.float64)[:, 0]
    want = -np.sqrt(2) * np.cos(np.outer(c, f) + phase) @ w / np.sqrt((w**2).sum())
    np.testing.assert_allclose(net.apply({'params': params}, c), want, atol=1e-3)
    assert (np.abs(want) <= np.sqrt(32)).all()


TINY = {'channels': 8, 'multipliers': (1, 2), 'blocks': 1, 'attention': (), 'head_channels': 8}


def shapes(net, shape, levels=None, cond=None):
    x, c = jnp.zeros(shape), jnp.zeros(shape[:1] if levels is None else (shape[0], levels))
    init, apply = functional(net)
    params = jax.eval_shape(init, jax.random.key(0), x, c)
    return params, jax.eval_shape(lambda p: apply(p, x, c, cond, None), params)


def test_it_takes_signals_and_videos_classes_and_two_noise_levels():
    net = EDM2(**TINY, condition={'kind': Part((), 3), 'marks': Part((2,), 4)}, out_channels=5)
    cond = {'kind': jnp.zeros(2, int), 'marks': jnp.zeros((2, 2), int)}
    params, out = shapes(net, (2, 8, 3), 2, cond)
    assert (out.shape, out.dtype) == ((2, 8, 5), jnp.float32)
    assert {'kind', 'marks_0', 'marks_1', 'noise', 'second_noise', 'second_fourier'} <= params.keys()
    assert params['kind']['mp_direction'].shape == (3, 16)
    _, out = shapes(EDM2(**TINY, out_channels=3, dtype='bfloat16', remat='full'), (2, 4, 8, 8, 3))
    assert (out.shape, out.dtype) == ((2, 4, 8, 8, 3), jnp.float32)


def test_what_it_cannot_be_is_one_line():
    x = (2, 8, 8, 3)
    words = Masked(jnp.zeros((2, 3), int), jnp.ones((2, 3), bool))
    with pytest.raises(ValueError, match='EDM2 is told classes alone, and not words'):
        shapes(EDM2(**TINY, condition={'words': Part((3,), 5, sequence=True)}), x, cond={'words': words})
    with pytest.raises(ValueError, match='has no head of head_channels=32'):
        shapes(EDM2(**{**TINY, 'head_channels': 32}), x)
    with pytest.raises(ValueError, match=r'c_noise must be \[B\] or \[B, 2\]'):
        shapes(EDM2(**TINY), x, 3)
    with pytest.raises(ValueError, match='cannot be halved evenly'):
        shapes(EDM2(**TINY), (2, 7, 7, 3))


@pytest.mark.slow
def test_a_new_network_keeps_magnitudes_and_says_nothing():
    net = EDM2(**{**TINY, 'channels': 32, 'multipliers': (1, 2, 2)}, out_channels=3)
    x, c = unit(8, 8, 8, 3), unit(8)
    params = jax.jit(net.init)(jax.random.key(0), x, c)['params']
    out, state = jax.jit(lambda p: net.apply({'params': p}, x, c, capture_intermediates=True))(params)
    assert not out.any()
    of = {n: v['__call__'][0] for n, v in state['intermediates'].items() if n != '__call__'}
    blocks = {n: rms(h) for n, h in of.items() if n.startswith(('down', 'middle', 'up'))}
    assert len(blocks) == 3 + 2 + 2 + 6 + 2
    assert max(abs(np.log(list(blocks.values())))) < 0.35, blocks
