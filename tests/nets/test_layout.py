"""What a layout changes, each by itself, against its definition."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from diffusion_jax.nets import UNet
from diffusion_jax.nets.blocks import Conv3, GroupNorm, ResBlock, downsample, sinusoid
from diffusion_jax.nets.layout import DDPM, Layout, adm, dhariwal, song
from tests.nets.cases import randomised

X = np.random.default_rng(0).standard_normal((2, 8, 8, 12)).astype(np.float32)


@pytest.mark.parametrize('shift', [0, 1])
@pytest.mark.parametrize('cosines_first', [False, True])
def test_sinusoids(shift, cosines_first):
    c, half = np.array([0.0, 3.5, -700.0]), 6
    w = 10_000.0 ** (-np.arange(half) / (half - shift))
    waves = np.sin(c[:, None] * w), np.cos(c[:, None] * w)
    expected = np.concatenate(waves[::-1] if cosines_first else waves, axis=-1)
    got = sinusoid(jnp.asarray(c, jnp.float32), 12, shift=shift, cosines_first=cosines_first)
    np.testing.assert_allclose(got, expected, atol=2e-4)
    with pytest.raises(ValueError, match=re.escape('shift=6 must be below 6')):
        sinusoid(jnp.zeros(1), 12, shift=6)


@pytest.mark.parametrize('groups', [1, 3, 12])
def test_groups_and_eps_of_a_norm(groups):
    """Of values so small that eps decides."""
    x, eps = 1e-3 * X, 1e-5
    parts = x.astype(np.float64).reshape(2, 64, groups, -1)
    mean, variance = parts.mean((1, 3), keepdims=True), parts.var((1, 3), keepdims=True)
    expected = ((parts - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    norm = GroupNorm(layout=Layout(eps=eps, groups=groups))
    params = {'params': {'scale': jnp.ones(12), 'bias': jnp.zeros(12)}}
    np.testing.assert_allclose(norm.apply(params, jnp.asarray(x)), expected, atol=1e-5)


def test_groups_that_do_not_divide():
    with pytest.raises(ValueError, match='5 groups of a normalisation do not divide 12 channels'):
        GroupNorm(layout=Layout(groups=5)).init(jax.random.key(0), jnp.asarray(X))


@pytest.mark.parametrize('padding', ['zero', 'circular'])
@pytest.mark.parametrize('symmetric', [False, True])
def test_a_strided_convolution_is_every_other_of_a_plain_one(padding, symmetric):
    """With one pixel of padding in front the even ones, without it the odd ones."""

    class Conv(nn.Module):
        strides: tuple[int, int]

        @nn.compact
        def __call__(self, x):
            return Conv3(padding, layout=Layout(symmetric=symmetric))(x, 5, 'conv', self.strides)

    params = randomised(Conv((1, 1)).init(jax.random.key(0), jnp.asarray(X)))
    plain = Conv((1, 1)).apply(params, jnp.asarray(X))
    first = 0 if symmetric else 1
    np.testing.assert_allclose(Conv((2, 2)).apply(params, jnp.asarray(X)), plain[:, first::2, first::2], atol=1e-5)


def test_the_residual_sum_is_scaled_and_its_shortcut_a_layer():
    by = functools.partial(downsample, strides=(2, 2))
    block = ResBlock(12, layout=song(), resample=by)
    args = jnp.asarray(X), jnp.ones((2, 4)), True
    params = randomised(block.init(jax.random.key(0), *args)['params'])
    params['conv_2'] = jax.tree.map(jnp.zeros_like, params['conv_2'])  # the branch alone is silent
    kernel, bias = (np.asarray(params['shortcut'][name]) for name in ('kernel', 'bias'))
    expected = (np.asarray(by(jnp.asarray(X))) @ kernel + bias) / np.sqrt(2)
    np.testing.assert_allclose(block.apply({'params': params}, *args), expected, atol=1e-5)
    assert 'shortcut' not in ResBlock(12, resample=by).init(jax.random.key(0), *args)['params']


def test_upwards_only_the_last_block_of_a_level_attends():
    def names(layout):
        net = UNet(16, (1, 2), 2, (8, 4), layout=layout)
        shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1)))
        return {name for name in shapes['params'] if 'attention' in name}

    down = {f'down_{level}_attention_{i}' for level in (0, 1) for i in (0, 1)} | {'middle_attention'}
    assert names(DDPM) == down | {f'up_{level}_attention_{i}' for level in (0, 1) for i in (0, 1, 2)}
    assert names(song()) == down | {'up_0_attention_2', 'up_1_attention_2'}


def test_named_layouts():
    assert Layout() == DDPM
    assert adm() == Layout(1e-5, 32, True, 0, True)
    assert dhariwal() == adm()._replace(groups=None)
