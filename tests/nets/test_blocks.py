import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from diffusion_jax.nets.blocks import Attention, GroupNorm, ResBlock, double, halve, sinusoid
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


def test_double_repeats_and_halve_averages():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    np.testing.assert_array_equal(double(x), np.repeat(np.repeat(x, 2, axis=1), 2, axis=2))
    np.testing.assert_allclose(halve(double(x)), x, rtol=1e-6)
    y = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(halve(y)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])


@pytest.mark.parametrize(('channels', 'groups'), [(3, 1), (20, 5), (128, 32), (192, 32)])
@pytest.mark.parametrize('offset', [0.0, 300.0])  # a large mean makes E[x^2] - E[x]^2 cancel
def test_group_norm_against_flax(channels, groups, offset):
    x = offset + jax.random.normal(jax.random.key(0), (2, 4, 6, channels))
    params = randomised(GroupNorm().init(jax.random.key(0), x))
    reference = nn.GroupNorm(groups, epsilon=1e-6, use_fast_variance=False)
    np.testing.assert_allclose(GroupNorm().apply(params, x), reference.apply(params, x), atol=3e-4 if offset else 1e-5)


def test_group_norm_modulated_scales_and_shifts_the_normalised_image():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    params = randomised(GroupNorm().init(jax.random.key(0), x))
    scale, shift = jax.random.normal(jax.random.key(1), (2, 2, 8))
    plain = GroupNorm().apply(params, x)
    expected = plain * (1 + scale[:, None, None, :]) + shift[:, None, None, :]
    np.testing.assert_allclose(GroupNorm().apply(params, x, scale, shift), expected, atol=1e-5)


@pytest.mark.parametrize('heads', [1, 3])
def test_attention_against_explicit_softmax(heads):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 12))
    params = randomised(Attention(heads).init(jax.random.key(0), x))['params']
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
    params = randomised(Attention(2).init(jax.random.key(0), x))
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


@pytest.mark.parametrize(('by', 'size'), [(halve, 2), (double, 8)])
def test_a_resampling_block_resamples_both_branches(by, size):
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    emb = jnp.zeros((2, 16))
    block = ResBlock(8, resample=by)
    params = block.init(jax.random.key(0), x, emb, True)
    np.testing.assert_allclose(block.apply(params, x, emb, True), by(x), atol=1e-3)  # the residual branch is silent
    assert block.apply(randomised(params), x, emb, True).shape == (2, size, size, 8)
