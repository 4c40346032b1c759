import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import ndimage

from diffusion_jax.nets.blocks import (
    Attention,
    Conv3,
    CrossAttention,
    GroupNorm,
    ResBlock,
    downsample,
    sinusoid,
    upsample,
)
from diffusion_jax.types import Masked
from tests.nets.cases import randomised


def test_sinusoid_is_the_closed_formula():
    c = np.array([-5.0, 0.0, 0.37, 999.0])
    expected = [
        [f(v * 10000 ** (-i / 5)) for f in (np.sin, np.cos) for i in range(6)]  # half - 1 in the exponent, sin first
        for v in c
    ]
    np.testing.assert_allclose(sinusoid(jnp.asarray(c, jnp.float32), 12), expected, atol=1e-4)


def test_sinusoid_keeps_float32_for_coarser_times():
    emb = sinusoid(jnp.array([999.0], jnp.float16), 8)
    assert emb.dtype == jnp.float32
    np.testing.assert_allclose(emb[0, 0], np.sin(999.0), atol=1e-4)


@pytest.mark.parametrize('dim', [2, 7])
def test_sinusoid_refuses_sizes_that_it_cannot_split(dim):
    with pytest.raises(ValueError, match='even size'):
        sinusoid(jnp.zeros(1), dim)


@pytest.mark.parametrize(('shape', 'strides'), [((6,), (2,)), ((3, 5), (2, 2)), ((2, 3, 2), (1, 2, 3))])
def test_upsampling_repeats_and_downsampling_averages(shape, strides):
    x = np.random.default_rng(0).standard_normal((2, *shape, 4)).astype('float32')
    wide = x
    for axis, stride in enumerate(strides, 1):
        wide = np.repeat(wide, stride, axis=axis)
    np.testing.assert_array_equal(upsample(jnp.asarray(x), strides), wide)
    np.testing.assert_allclose(downsample(jnp.asarray(wide), strides), x, rtol=1e-6)


def test_downsampling_by_hand():
    y = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(downsample(y, (2, 2))[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(downsample(y, (1, 4))[0, :, :, 0], [[1.5], [5.5], [9.5], [13.5]])


class OneConv(nn.Module):
    padding: str
    strides: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        return Conv3(self.padding)(x, 5, 'conv', self.strides)


@pytest.mark.parametrize(('padding', 'mode'), [('zero', 'constant'), ('circular', 'wrap')])
@pytest.mark.parametrize(('shape', 'strides'), [((6,), (1,)), ((4, 6), (1, 2)), ((2, 4, 6), (1, 2, 2)), ((8,), (4,))])
def test_convolution_against_scipy(shape, strides, padding, mode):
    """And the same cells whatever the padding: with a stride XLA's SAME begins at the second of two pixels."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, *shape, 3)), jnp.float32)
    net = OneConv(padding, strides)
    params = randomised(jax.eval_shape(net.init, jax.random.key(0), x))
    kernel, bias = (np.asarray(params['params']['conv'][k]) for k in ('kernel', 'bias'))
    assert kernel.shape == (*(3,) * len(shape), 3, 5)
    full = np.zeros((2, *shape, 5))
    for b, c, d in np.ndindex(2, 3, 5):
        full[b, ..., d] += ndimage.correlate(np.asarray(x)[b, ..., c], kernel[..., c, d], mode=mode)
    first = [{1: 0, 2: 1, 4: 1}[s] for s in strides]  # the centre of SAME's first window
    cells = (slice(None), *(slice(f, None, s) for f, s in zip(first, strides, strict=True)))
    np.testing.assert_allclose(net.apply(params, x), full[cells] + bias, atol=1e-5)


def test_a_padding_that_there_is_not():
    with pytest.raises(ValueError, match="padding='reflect' must be 'zero' or 'circular'"):
        OneConv('reflect', (1,)).init(jax.random.key(0), jnp.zeros((1, 4, 1)))


@pytest.mark.parametrize(('channels', 'groups'), [(3, 1), (20, 5), (128, 32), (192, 32)])
@pytest.mark.parametrize('offset', [0.0, 300.0])  # a large mean makes E[x^2] - E[x]^2 cancel
@pytest.mark.parametrize('space', [(9,), (4, 6), (2, 3, 4)])
def test_group_norm_against_flax(channels, groups, offset, space):
    x = offset + jax.random.normal(jax.random.key(0), (2, *space, channels))
    params = randomised(jax.eval_shape(GroupNorm().init, jax.random.key(0), x))
    reference = nn.GroupNorm(groups, epsilon=1e-6, use_fast_variance=False)
    np.testing.assert_allclose(GroupNorm().apply(params, x), reference.apply(params, x), atol=3e-4 if offset else 1e-5)


def test_group_norm_modulated_scales_and_shifts_the_normalised_image():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    params = randomised(jax.eval_shape(GroupNorm().init, jax.random.key(0), x))
    scale, shift = jax.random.normal(jax.random.key(1), (2, 2, 8))
    plain = GroupNorm().apply(params, x)
    expected = plain * (1 + scale[:, None, None, :]) + shift[:, None, None, :]
    np.testing.assert_allclose(GroupNorm().apply(params, x, scale, shift), expected, atol=1e-5)


@pytest.mark.parametrize('heads', [1, 3])
def test_attention_against_explicit_softmax(heads):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 12))
    params = randomised(jax.eval_shape(Attention(heads).init, jax.random.key(0), x))['params']
    y = np.asarray(GroupNorm().apply({'params': params['norm']}, x)).reshape(2, 12, 12)
    q, k, v = (y @ np.asarray(params[n]['kernel']) + np.asarray(params[n]['bias']) for n in 'qkv')
    out = np.zeros_like(q)
    size = 12 // heads
    for b in range(2):
        for head in range(heads):
            c = slice(head * size, (head + 1) * size)
            logits = q[b, :, c] @ k[b, :, c].T / np.sqrt(size)
            w = np.exp(logits)
            out[b, :, c] = (w / w.sum(-1, keepdims=True)) @ v[b, :, c]
    out = out @ np.asarray(params['out']['kernel']) + np.asarray(params['out']['bias'])
    np.testing.assert_allclose(Attention(heads).apply({'params': params}, x), x + out.reshape(x.shape), atol=2e-5)


def test_attention_does_not_know_where_a_pixel_is():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
    params = randomised(jax.eval_shape(Attention(2).init, jax.random.key(0), x))
    order = jax.random.permutation(jax.random.key(1), 16)

    def shuffle(z):
        return z.reshape(1, 16, 8)[:, order].reshape(1, 4, 4, 8)

    np.testing.assert_allclose(
        Attention(2).apply(params, shuffle(x)), shuffle(Attention(2).apply(params, x)), atol=1e-5
    )


def test_attention_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match='3 attention heads do not divide 8 channels'):
        Attention(3).init(jax.random.key(0), jnp.zeros((1, 2, 2, 8)))


def test_residual_branches_start_at_zero():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    emb = jax.random.normal(jax.random.key(1), (2, 16))
    block = ResBlock(8)
    np.testing.assert_allclose(block.apply(block.init(jax.random.key(0), x, emb, True), x, emb, True), x, atol=1e-3)
    np.testing.assert_allclose(Attention().apply(Attention().init(jax.random.key(0), x), x), x, atol=1e-3)


@pytest.mark.parametrize(('by', 'shape'), [(downsample, (2, 1)), (upsample, (8, 12))])
def test_a_resampling_block_resamples_both_branches(by, shape):
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8)) if by is upsample else jnp.ones((2, 4, 4, 8))
    x, emb = x[:, :, :3] if by is upsample else x, jnp.zeros((2, 16))
    strides = (2, 4)
    block = ResBlock(8, resample=functools.partial(by, strides=strides))
    params = block.init(jax.random.key(0), x, emb, True)
    np.testing.assert_allclose(block.apply(params, x, emb, True), by(x, strides), atol=1e-3)  # the residual is silent
    assert block.apply(randomised(params), x, emb, True).shape == (2, *shape, 8)


def by_softmax(p, y, tokens, heads, mask=None):
    """Attention of `y [N, C]` to `tokens [L, F]` in float64, a token at a time; without the residual."""
    q = y @ p['q']['kernel'] + p['q']['bias']
    k, v = (tokens @ p[n]['kernel'] + p[n]['bias'] for n in 'kv')
    out, size = np.zeros(q.shape), q.shape[1] // heads
    there = range(len(tokens)) if mask is None else np.flatnonzero(mask)
    for n, head in np.ndindex(len(q), heads):
        c = slice(head * size, (head + 1) * size)
        w = np.exp([q[n, c] @ k[i, c] / np.sqrt(size) for i in there])
        out[n, c] = sum(wi * v[i, c] for wi, i in zip(w / w.sum(), there, strict=True))
    return out @ p['out']['kernel'] + p['out']['bias']


def test_cross_attention_against_explicit_softmax():
    rng = np.random.default_rng(0)
    x, values = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in ((3, 2, 3, 8), (3, 4, 5)))
    mask = jnp.array([[True, False, True, True], [False, False, False, True], [False] * 4])
    net = CrossAttention(2)
    params = randomised(jax.eval_shape(net.init, jax.random.key(0), x, Masked(values, mask)))['params']
    y = np.asarray(GroupNorm().apply({'params': params['norm']}, x)).reshape(3, 6, 8)
    p, tokens, expected = jax.tree.map(np.asarray, params), np.asarray(values), np.array(x)
    for b in range(2):  # to the last nothing is told
        expected[b] += by_softmax(p, y[b], tokens[b], 2, mask[b]).reshape(2, 3, 8)
    np.testing.assert_allclose(net.apply({'params': params}, x, Masked(values, mask)), expected, atol=2e-5)


def test_attention_along_some_axes_is_attention_of_each_slice():
    x = jax.random.normal(jax.random.key(0), (2, 3, 2, 4, 8))
    params = randomised(jax.eval_shape(Attention(2).init, jax.random.key(0), x))['params']
    y = np.asarray(GroupNorm().apply({'params': params['norm']}, x))
    p = jax.tree.map(np.asarray, params)
    frames, pixels = np.array(x), np.array(x)
    for b, t in np.ndindex(2, 3):
        frames[b, t] += by_softmax(p, y[b, t].reshape(8, 8), y[b, t].reshape(8, 8), 2).reshape(2, 4, 8)
    for b, h, w in np.ndindex(2, 2, 4):
        pixels[b, :, h, w] += by_softmax(p, y[b, :, h, w], y[b, :, h, w], 2)
    np.testing.assert_allclose(Attention(2, axes=(1, 2)).apply({'params': params}, x), frames, atol=2e-5)
    np.testing.assert_allclose(Attention(2, axes=(0,)).apply({'params': params}, x), pixels, atol=2e-5)
    every = Attention(2, axes=(0, 1, 2)).apply({'params': params}, x)
    np.testing.assert_allclose(every, Attention(2).apply({'params': params}, x), atol=1e-5)


def test_attention_along_an_axis_that_there_is_not():
    with pytest.raises(ValueError, match=r'axes \(1, 2\), but the spatial axes of x are 0 .. 1'):
        Attention(axes=(1, 2)).init(jax.random.key(0), jnp.zeros((1, 4, 4, 8)))
