"""The down half of a U-Net: its layers are the U-Net's, its pool is attention written out, and what it hears."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import UNet, UNetEncoder, functional
from diffusion_jax.nets.blocks import AttentionPool
from tests.nets.cases import built, randomised

TINY = {'channels': 8, 'multipliers': (1, 2), 'blocks': 1, 'attention': (4,), 'dropout': 0.5}


def shapes_of(net, shape=(2, 8, 8, 3)):
    init, _ = functional(net)
    params = jax.eval_shape(init, jax.random.key(0), jnp.zeros(shape), jnp.zeros(shape[:1]))
    return jax.tree.map(jnp.shape, params)


def test_its_layers_are_those_of_the_u_net_up_to_the_middle():
    whole, half = (shapes_of(net(**TINY)) for net in (UNet, UNetEncoder))
    own = {'norm_out', 'pool', 'dense_out'}
    assert {k: v for k, v in half.items() if k not in own} == {
        k: v for k, v in whole.items() if not k.startswith('up_') and k not in {'norm_out', 'conv_out'}
    }
    assert half['dense_out']['kernel'] == (16, 3)
    assert half['pool']['positions'] == (1 + 4 * 4, 16)


@pytest.mark.parametrize('shape', [(2, 8, 3), (2, 8, 4, 3), (2, 4, 4, 4, 1)])
def test_one_answer_of_any_number_of_axes(shape):
    init, apply = functional(UNetEncoder(**{**TINY, 'attention': (), 'out_channels': 5}))
    x, c = jnp.zeros(shape), jnp.zeros(2)
    params = jax.eval_shape(init, jax.random.key(0), x, c)
    out = jax.eval_shape(lambda params: apply(params, x, c, None, None), params)
    assert (out.shape, out.dtype) == ((2, 5), jnp.float32)


def test_the_pool_is_attention_of_the_mean_by_numpy():
    heads, x = 2, np.random.default_rng(0).standard_normal((3, 2, 2, 4)).astype(np.float32)
    module = AttentionPool(heads)
    params = randomised(jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.asarray(x))))['params']
    rows = x.reshape(3, 4, 4)
    rows = np.concatenate([rows.mean(1, keepdims=True), rows], 1) + np.asarray(params['positions'])
    q, k, v = (rows @ np.asarray(params[n]['kernel']) + np.asarray(params[n]['bias']) for n in 'qkv')
    parts = []
    for head in (slice(0, 2), slice(2, 4)):
        weights = np.exp(np.einsum('bc,bnc->bn', q[:, 0, head], k[:, :, head]) / np.sqrt(2))
        parts.append(np.einsum('bn,bnc->bc', weights / weights.sum(1, keepdims=True), v[:, :, head]))
    want = np.concatenate(parts, 1) @ np.asarray(params['out']['kernel']) + np.asarray(params['out']['bias'])
    np.testing.assert_allclose(module.apply({'params': params}, jnp.asarray(x)), want, rtol=1e-4, atol=1e-5)


def test_each_sample_alone_its_noise_level_and_where_things_lie():
    apply, params, x, c = built(UNetEncoder(**TINY), (2, 8, 8, 3))
    out = apply(params, x, c, None, None)
    np.testing.assert_array_equal(out, apply(params, x, c, None, None))
    for changed in (apply(params, x.at[1].add(1.0), c, None, None), apply(params, x, c.at[1].add(50.0), None, None)):
        np.testing.assert_allclose(changed[0], out[0], atol=1e-5)
        assert jnp.abs(changed[1] - out[1]).max() > 0.01
    assert jnp.abs(apply(params, x[:, ::-1], c, None, None) - out).max() > 0.01
    one, same, other = (apply(params, x, c, None, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert jnp.abs(one - other).max() > 0.01


def test_at_the_start_all_classes_are_alike():
    init, apply = functional(UNetEncoder(**TINY))
    x, c = jnp.ones((1, 8, 8, 3)), jnp.ones(1)
    params = jax.jit(init)(jax.random.key(0), x, c)
    assert jnp.abs(apply(params, x, c, None, None)).max() < 1e-3


@pytest.mark.slow
def test_bfloat16_and_blocks_computed_again():
    net = UNetEncoder(**TINY)
    apply, params, x, c = built(net, (2, 8, 8, 3))
    exact = apply(params, x, c, None, None)
    rough = jax.jit(functional(net.copy(dtype='bfloat16'))[1])(params, x, c, None, None)
    assert rough.dtype == jnp.float32
    assert 1e-5 < jnp.sqrt(jnp.mean((exact - rough) ** 2) / jnp.mean(exact**2)) < 0.05
    again = functional(net.copy(remat='full'))[1]

    def gradient(apply):
        return jax.jit(jax.grad(lambda x: jnp.sum(apply(params, x, c, None, None)[:, 0])))(x)

    np.testing.assert_allclose(gradient(again), gradient(apply), rtol=1e-4, atol=1e-5)
