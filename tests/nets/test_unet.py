import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import UNet, functional
from diffusion_jax.types import Part
from tests import processes
from tests.nets.cases import built, randomised

TINY = {'channels': 16, 'multipliers': (1, 2), 'blocks': 1, 'attention': (4,), 'out_channels': 3}


def shapes(net, shape, levels=()):
    init, apply = functional(net)
    key, x = jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
    c = jax.ShapeDtypeStruct((*shape[:1], *levels), jnp.float32)
    params = jax.eval_shape(init, key, x, c)
    return params, jax.eval_shape(lambda p, a, b: apply(p, a, b, None, None), params, x, c)


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.slow
def test_the_defaults_are_ho_et_al_cifar10():
    params, out = shapes(UNet(), (1, 32, 32, 3))
    assert count(params) == 35_746_307  # google/ddpm-cifar10-32; 35.7M in arXiv 2006.11239, appendix B
    assert out.shape == (1, 32, 32, 3)
    # A flow map's second time costs another two dense layers.
    params, _ = shapes(UNet(), (1, 32, 32, 3), levels=(2,))
    assert count(params) == 35_746_307 + 128 * 512 + 512 * 512 + 2 * 512


def test_both_noise_levels_are_seen_per_sample():
    apply, params, x, c = built(UNet(**TINY), (2, 8, 8, 3), levels=2)
    out = apply(params, x, c, None, None)
    for level in (0, 1):
        moved = apply(params, x, c.at[1, level].add(50.0), None, None)
        np.testing.assert_allclose(moved[0], out[0], atol=1e-5)
        assert jnp.abs(moved[1] - out[1]).mean() > 0.01


def test_dropout_needs_a_key_and_changes_the_output():
    apply, params, x, c = built(UNet(**TINY, dropout=0.5), (2, 8, 8, 3))
    still, again = apply(params, x, c, None, None), apply(params, x, c, None, None)
    one, same, other = (apply(params, x, c, None, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(still, again)
    np.testing.assert_array_equal(one, same)
    assert jnp.abs(one - still).mean() > 0.05
    assert jnp.abs(one - other).mean() > 0.05


def test_no_dropout_rate_no_noise():
    apply, params, x, c = built(UNet(**TINY, dropout=0.0), (2, 8, 8, 3))
    np.testing.assert_allclose(apply(params, x, c, None, jax.random.key(0)), apply(params, x, c, None, None), atol=1e-5)


def test_classes_change_the_output_and_none_is_the_null_class():
    apply, params, x, c = built(UNet(**TINY, condition=Part((), 3)), (2, 8, 8, 3))
    by_class = [apply(params, x, c, jnp.full(2, k), None) for k in range(4)]
    for i in range(4):
        for j in range(i):
            assert jnp.abs(by_class[i] - by_class[j]).mean() > 0.01
    np.testing.assert_array_equal(apply(params, x, c, None, None), by_class[3])
    mixed = apply(params, x, c, jnp.array([0, 3]), None)  # per sample, not per batch
    np.testing.assert_allclose(mixed[0], by_class[0][0], atol=1e-5)
    np.testing.assert_allclose(mixed[1], by_class[3][1], atol=1e-5)


def test_classes_for_a_net_without_any_are_refused():
    apply, params, x, c = built(UNet(**TINY), (1, 8, 8, 3))
    with pytest.raises(ValueError, match='condition=None'):
        apply(params, x, c, jnp.zeros(1, jnp.int32), None)


def test_the_noise_level_is_seen_per_sample():
    apply, params, x, c = built(UNet(**TINY), (2, 8, 8, 3))
    out = apply(params, x, c, None, None)
    moved = apply(params, x, c.at[1].add(50.0), None, None)
    np.testing.assert_allclose(moved[0], out[0], atol=1e-5)
    assert jnp.abs(moved[1] - out[1]).mean() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, {'scale_shift': True, 'resample_in_block': True}])
def test_bfloat16_computes_coarsely_and_keeps_float32_parameters(options):
    net = UNet(**TINY, **options)
    apply, params, x, c = built(net, (2, 8, 8, 3))
    coarse = functional(net.copy(dtype='bfloat16'))
    coarse_params = jax.eval_shape(coarse[0], jax.random.key(0), x, c)
    assert {leaf.dtype for leaf in jax.tree.leaves(coarse_params)} == {jnp.dtype('float32')}
    exact, rough = apply(params, x, c, None, None), jax.jit(coarse[1])(params, x, c, None, None)
    assert rough.dtype == jnp.float32
    error = jnp.sqrt(jnp.mean((exact - rough) ** 2) / jnp.mean(exact**2))
    assert 1e-4 < error < 0.03  # above the floor: it did compute in bfloat16; bfloat16's own precision is 2^-8


@pytest.mark.slow
def test_float64_in_float64_out():
    apply, params, x, c = built(UNet(**TINY), (1, 8, 8, 3))
    rough = apply(params, x, c, None, None)
    with jax.enable_x64(True):
        exact = apply(params, x.astype('float64'), c.astype('float64'), None, None)
    assert exact.dtype == jnp.float64
    np.testing.assert_allclose(rough, exact, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, {'scale_shift': True, 'resample_in_block': True, 'head_channels': 8}])
def test_gradient_reaches_every_parameter(options):
    apply, params, x, c = built(UNet(**TINY, condition=Part((), 1), **options), (2, 8, 8, 3))
    cond = jnp.arange(2)
    grads = jax.jit(jax.grad(lambda p: jnp.mean(apply(p, x, c, cond, None) ** 3)))(params)
    for path, g in jax.tree_util.tree_leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        if name.endswith("['k']['bias']"):
            continue  # a shift of all keys cancels in the softmax: this gradient is zero by mathematics
        assert jnp.abs(g).max() > 1e-4, name


@pytest.mark.parametrize(('size', 'multipliers'), [(28, (1, 1, 1, 1)), (30, (1, 1, 1)), (7, (1, 1))])
def test_a_size_that_cannot_be_halved_is_one_clear_line(size, multipliers):
    net = UNet(16, multipliers, 1)
    message = rf'{size}x32 cannot be halved evenly {len(multipliers) - 1} times'
    with pytest.raises(ValueError, match=message):
        shapes(net, (1, size, 32, 3))
    with pytest.raises(ValueError, match=rf'32x{size}'):
        shapes(net, (1, 32, size, 3))


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, {'scale_shift': True, 'resample_in_block': True, 'heads': 4}])
@pytest.mark.parametrize(
    ('size', 'channels', 'multipliers'), [((28, 28), 1, (1, 2, 2)), ((8, 8), 4, (1, 1)), ((16, 8), 3, (1, 2, 3, 4))]
)
def test_every_option_on_every_kind_of_image(size, channels, multipliers, options):
    net = UNet(16, multipliers, 1, (14, 4), out_channels=2 * channels, **options)
    _, out = shapes(net, (2, *size, channels))
    assert out.shape == (2, *size, 2 * channels)
    assert out.dtype == jnp.float32


@pytest.mark.slow
def test_what_each_option_costs_in_parameters():
    def parameters(**options):
        return count(shapes(UNet(**{**TINY, **options}), (1, 8, 8, 3))[0])

    plain = parameters()
    emb = 4 * 16
    widths = [16, 32, 32, 32, 32, 32, 16, 16]  # down 2, middle 2, up 2 + 2
    assert parameters(condition=Part((), 10)) - plain == 11 * emb
    assert parameters(scale_shift=True) - plain == sum(w * (emb + 1) for w in widths)
    assert parameters(out_channels=6) - plain == 3 * (9 * 16 + 1)
    assert parameters(heads=4) == plain
    assert plain - parameters(attention=()) == 3 * (4 * 32 * 33 + 2 * 32)


def test_attention_is_where_it_was_asked_for():
    params = shapes(UNet(16, (1, 1, 1), 2, (16,)), (1, 32, 32, 3))[0]
    assert sorted(k for k in params if 'attention' in k) == [
        'down_1_attention_0',
        'down_1_attention_1',
        'middle_attention',
        'up_1_attention_0',
        'up_1_attention_1',
        'up_1_attention_2',
    ]


def loss_and_params(remat, x, **shape):
    net = UNet(channels=8, attention=(), out_channels=1, dropout=0.5, remat=remat, **shape)
    init, apply = functional(net)
    c = jnp.ones(len(x))
    params = randomised(jax.eval_shape(init, jax.random.key(0), x, c))
    return lambda params: jnp.mean(apply(params, x, c, None, jax.random.key(1)) ** 2), params


@pytest.mark.slow
def test_blocks_computed_again_keep_less():
    def kept(remat):
        """Numbers that the backward pass is given of the forward one."""
        loss, params = loss_and_params(remat, jnp.ones((2, 8, 8, 1)), multipliers=(1, 1), blocks=1)
        return count(jax.eval_shape(lambda p: jax.vjp(loss, p)[1], params)) - count(params)

    everything = kept(None)
    assert kept('full') < 0.25 * everything
    assert kept('full') < kept('dots_saveable') < everything


@pytest.mark.slow
def test_blocks_computed_again_give_the_same_gradient():
    """Dropout included: the same key must mean the same mask the second time."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 4, 1)), jnp.float32)
    (plain, params), (again, _) = (loss_and_params(remat, x, multipliers=(1,), blocks=1) for remat in (None, 'full'))
    expected, found = (jax.jit(jax.grad(loss))(params) for loss in (plain, again))
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * scale), found, expected)


@pytest.mark.slow
def test_blocks_computed_again_take_less_memory():
    """In a process whose scheduler does not, as CPUs' does by default, do early what could be done early."""
    program = """
import jax, jax.numpy as jnp
from tests.nets.test_unet import loss_and_params
for remat in (None, 'full'):
    loss, params = loss_and_params(remat, jnp.ones((8, 16, 16, 1)), multipliers=(1, 1), blocks=4)
    print(jax.jit(jax.grad(loss)).lower(params).compile().memory_analysis().temp_size_in_bytes)
"""
    env = {**processes.environment(1), 'XLA_FLAGS': '--xla_cpu_enable_concurrency_optimized_scheduler=false'}
    call = [sys.executable, '-c', program]
    out = subprocess.run(call, cwd=processes.ROOT, env=env, capture_output=True, text=True, check=True, timeout=900)
    plain, again = map(int, out.stdout.split())
    assert again < 0.8 * plain


def test_an_unknown_policy():
    with pytest.raises(ValueError, match="remat='ful' is unknown; it is one of full, dots_saveable"):
        shapes(UNet(**TINY, remat='ful'), (1, 8, 8, 3))
