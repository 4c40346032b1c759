"""The U-Net over signals, images and videos: what each must do by its symmetries, and that they are one network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import UNet, functional
from diffusion_jax.types import Masked, Part
from tests.nets.cases import built

pytestmark = pytest.mark.slow

TINY = {'channels': 8, 'multipliers': (1, 2), 'blocks': 1, 'attention': (4,), 'out_channels': 2, 'dropout': 0.0}
VIDEO = {**TINY, 'strides': (1, 2, 2), 'attention_axes': ((1, 2), (0,))}
WORDS = Part((3,), 5, sequence=True)


def relative(a, b):
    return float(jnp.abs(a - b).max() / jnp.abs(b).max())


@pytest.mark.parametrize(('space', 'adm'), [((8,), True), ((8, 4), False), ((8, 4), True), ((2, 8, 4), False)])
def test_circular_padding_commutes_with_shifts_by_the_total_stride(space, adm):
    net = UNet(**TINY, padding='circular', scale_shift=adm, resample_in_block=adm)
    apply, params, x, c = built(net, (2, *space, 2))
    zero = jax.jit(functional(net.copy(padding='zero'))[1])
    axes = [axis for axis in range(1, x.ndim - 1) if x.shape[axis] > 2]

    def error(apply, axis, shift):
        moved = apply(params, jnp.roll(x, shift, axis), c, None, None)
        return relative(moved, jnp.roll(apply(params, x, c, None, None), shift, axis))

    assert max(error(apply, axis, 2) for axis in axes) < 1e-5
    assert min(error(apply, axis, 1) for axis in axes) > 0.01  # no multiple of the stride
    assert min(error(zero, axis, 2) for axis in axes) > 0.01


@pytest.mark.parametrize('space', [(8,), (8, 4)])
def test_data_constant_along_an_axis_are_data_without_it(space):
    """With circular padding: the kernels' sums along the axis are the kernels of the smaller network."""
    options = {**TINY, 'attention': (), 'padding': 'circular'}  # but for the middle's: the axis before changes heights
    small = jax.jit(functional(UNet(**options))[1])
    large, params, wide, c = built(UNet(**options, strides=(1, *(2,) * len(space))), (2, 3, *space, 2))
    wide = jnp.broadcast_to(wide[:, :1], wide.shape)
    out = large(params, wide, c, None, None)
    summed = jax.tree.map(lambda p: p.sum(0) if p.ndim == len(space) + 3 else p, params)
    expected = jnp.broadcast_to(small(summed, wide[:, 0], c, None, None)[:, None], out.shape)
    np.testing.assert_allclose(out, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize('strides', [(4,), (2, 1), (1, 2, 2)])
def test_strides_say_where_the_resolution_falls(strides):
    def shapes(by):
        net = UNet(**{**TINY, 'multipliers': (1, 1, 1)}, strides=by)
        init, apply = functional(net)
        params = jax.eval_shape(init, jax.random.key(0), x, c)
        levels = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x, c, capture_intermediates=True)[1])
        found = levels['intermediates']['down_1_resample']['__call__'][0].shape
        return found, jax.eval_shape(apply, params, x, c, None, None).shape

    x, c = jnp.zeros((1, *(s**2 * 3 for s in strides), 2)), jnp.zeros(1)
    assert shapes(strides) == ((1, *(3,) * len(strides), 8), x.shape)
    with pytest.raises(ValueError, match='one for each of'):
        shapes((*strides, 2))
    with pytest.raises(ValueError, match=r'divided by .*5 evenly 2 times'):
        shapes((*strides[:-1], 5))


def attended(net, shape):
    params = jax.eval_shape(functional(net)[0], jax.random.key(0), jnp.zeros(shape), jnp.zeros(1))
    return sorted(k for k in params if 'attention' in k)


def test_attention_is_at_lengths_of_signals_and_heights_of_frames():
    low = ['down_1_attention_0', 'middle_attention', 'up_1_attention_0', 'up_1_attention_1']
    net = UNet(**TINY)
    assert attended(net, (1, 8, 2)) == attended(net, (1, 8, 12, 2)) == attended(net, (1, 6, 8, 2, 2)) == low
    assert attended(net, (1, 4, 8, 12, 2)) == low  # not where there are 4 frames
    factorised = attended(UNet(**VIDEO), (1, 6, 8, 2, 2))
    assert factorised == sorted(f'{name}_along_{axes}' for name in low for axes in ('0', '12'))


def test_frames_are_told_apart_by_convolutions_alone():
    net = UNet(**{**VIDEO, 'multipliers': (1,)})
    apply, params, x, c = built(net, (1, 3, 4, 2, 2))
    order = np.array([2, 0, 1])

    def change(params):
        return relative(apply(params, x[:, order], c, None, None), apply(params, x, c, None, None)[:, order])

    within = jax.tree.map(lambda p: p.at[np.array([0, 2])].set(0) if p.ndim == 5 else p, params)
    assert change(within) < 1e-5
    assert change(params) > 0.01


def test_gradients_reach_every_parameter_of_a_network_of_videos():
    net = UNet(**{**VIDEO, 'multipliers': (1,)}, condition=WORDS)
    apply, params, x, c = built(net, (2, 2, 4, 2, 2))
    cond = Masked(jnp.array([[0, 1, 2], [3, 4, 0]]), jnp.array([[True, True, True], [True, True, False]]))
    grads = jax.jit(jax.grad(lambda p: jnp.mean(apply(p, x, c, cond, None) ** 3)))(params)
    for path, g in jax.tree_util.tree_leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        if not name.endswith("['k']['bias']"):  # a shift of all keys cancels in the softmax
            assert jnp.abs(g).max() > 1e-6, name


def test_tokens_are_attended_to_wherever_there_is_attention():
    net = UNet(**TINY, condition={'words': WORDS, 'kind': Part((), 2)})
    apply, params, x, c = built(net, (3, 8, 4, 2))
    crossed = sorted(k.removesuffix('_to_tokens') for k in params if k.endswith('_to_tokens'))
    assert crossed == attended(UNet(**TINY), (1, 8, 4, 2))
    words = np.array([[0, 1, 2], [3, 4, 0], [1, 1, 1]])
    mask = np.array([[True, True, False], [True, False, True], [False] * 3])
    kind = jnp.array([0, 1, 2])
    out = apply(params, x, c, {'words': Masked(words, mask), 'kind': kind}, None)
    other = apply(params, x, c, {'words': Masked(np.where(mask, words, 4), mask), 'kind': kind}, None)
    np.testing.assert_array_equal(other, out)
    np.testing.assert_allclose(apply(params, x, c, None, None)[2], out[2], atol=1e-5)  # null class, no word
    # Beyond what is in the vector: the mean of a sequence knows no order once the positions are zero, and neither do
    # tokens. With a mean of zero the words come by attention alone.
    deaf = {**params['embedding'], 'words_mean': jax.tree.map(jnp.zeros_like, params['embedding']['words_mean'])}
    deaf = {**params, 'embedding': deaf}
    told, nothing = (
        apply(deaf, x, c, {'words': Masked(words, m), 'kind': kind}, None) for m in (mask, np.zeros_like(mask))
    )
    assert min(relative(told[i], nothing[i]) for i in (0, 1)) > 0.01
    np.testing.assert_array_equal(told[2], nothing[2])


@pytest.mark.parametrize('shape', [(2, 2), (2, 4, 4, 4, 4, 2)])
def test_other_ranks_are_refused(shape):
    with pytest.raises(ValueError, match='one to three spatial axes'):
        built(UNet(**TINY), shape)
