import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import DiT, functional
from diffusion_jax.nets.condition import Embedding
from diffusion_jax.nets.dit import Block, Told, patches, waves, whole
from diffusion_jax.types import Masked, Part
from tests import processes
from tests.nets.cases import built, randomised

TINY = {'hidden': 16, 'depth': 2, 'heads': 2, 'patch': 2, 'out_channels': 2}
WORDS = Part((3,), 5, sequence=True)
PARTS = {'kind': Part((), 2), 'words': WORDS}
MASK = np.array([[True, False, True], [True, True, False], [False] * 3])
ROWS = {'kind': jnp.array([0, 1, 2]), 'words': Masked(np.array([[0, 1, 2], [3, 4, 0], [1, 1, 1]]), MASK)}


def count(net, shape):
    x, c = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape[:1], jnp.float32)
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(functional(net)[0], jax.random.key(0), x, c)))


@pytest.mark.parametrize(
    ('hidden', 'depth', 'heads', 'table_1'),
    [(384, 12, 6, 33), (768, 12, 12, 130), (1024, 24, 16, 458), (1152, 28, 16, 675)],  # millions
    ids=['S', 'B', 'L', 'XL'],
)
def test_parameters_are_the_official_architectures(hidden, depth, heads, table_1):
    d = hidden

    def linear(a, b):
        return a * b + b

    block = linear(d, 3 * d) + linear(d, d) + linear(d, 4 * d) + linear(4 * d, d) + linear(d, 6 * d)
    patch, time, classes = linear(2 * 2 * 4, d), linear(256, d) + linear(d, d), 1001 * d
    final = linear(d, 2 * d) + linear(d, 2 * 2 * 8)
    expected = patch + time + classes + depth * block + final
    net = DiT(hidden, depth, heads, 2, out_channels=8, condition=Part((), 1000))
    assert count(net, (1, 32, 32, 4)) == expected
    assert round(expected / 1e6) == table_1


def affine(p, x):
    return x @ np.asarray(p['kernel'], 'float64') + np.asarray(p['bias'], 'float64')


def silu(x):
    return x / (1 + np.exp(-x))


def normed(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def by_head(y, parts, heads):
    """[N, parts * D] -> parts of [heads, N, D / heads]: what is asked for goes before the heads, as in timm."""
    return y.reshape(len(y), parts, heads, -1).transpose(1, 2, 0, 3)


def turned(y, places):
    """[heads, N, D]: pairs as complex numbers times e^(i w k), the first half of the pairs by the row."""
    m = y.shape[-1] // 4
    w = 10000 ** (-np.arange(m) / m)
    phase = np.concatenate([np.outer(places[:, axis], w) for axis in (0, 1)], axis=1)
    z = (y[..., : 2 * m] + 1j * y[..., 2 * m :]) * np.exp(1j * phase)
    return np.concatenate([z.real, z.imag], axis=-1)


def attention(p, x, heads, places, there):
    q, k, v = by_head(affine(p['qkv'], x), 3, heads)
    if places is not None:
        q, k = turned(q, places), turned(k, places)
    k, v = k[:, there], v[:, there]
    out = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])) @ v
    return affine(p['out'], out.swapaxes(0, 1).reshape(x.shape))


def to_tokens(p, x, tokens, heads):
    (q,), (k, v) = by_head(affine(p['to_tokens_q'], x), 1, heads), by_head(affine(p['to_tokens_kv'], tokens), 2, heads)
    out = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])) @ v
    return affine(p['to_tokens_out'], out.swapaxes(0, 1).reshape(x.shape))


def one_block(p, x, emb, places, there, tokens):
    """A block of the official code, and an attention to tokens in it, on one sample's `x [N, D]`."""
    shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = np.split(affine(p['modulation'], silu(emb)), 6)
    x = x + gate_a * attention(p, normed(x) * (1 + scale_a) + shift_a, 2, places, there)
    if len(tokens):
        x = x + to_tokens(p, normed(x), tokens, 2)
    y = affine(p['mlp_1'], normed(x) * (1 + scale_m) + shift_m)
    return x + gate_m * affine(p['mlp_2'], gelu(y))


def by_hand(net, params, x, emb, tokens, mask):
    """One sample `x [4, 6, C]`, cut into 2 x 3 patches, its embedding and the condition's tokens."""
    places = np.array(list(np.ndindex(2, 3)))
    h = np.stack([affine(params['patches'], x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1)) for i, j in places])
    if net.positions == 'sincos':
        w = 10000 ** (-np.arange(4) / 4)
        h = h + np.array([np.concatenate([f(k * w) for k in (j, i) for f in (np.sin, np.cos)]) for i, j in places])
    there, crossed = [True] * 6, tokens[mask]
    if net.tokens == 'in_context':
        h, there, crossed = np.concatenate([h, tokens]), [*there, *mask], []
        places = np.concatenate([places, np.zeros((len(tokens), 2))])
    for layer in range(net.depth):
        p = jax.tree.map(lambda p, layer=layer: np.asarray(p[layer]), params['blocks'])
        h = one_block(p, h, emb, places if net.positions == 'rotary' else None, there, crossed)
    shift, scale = np.split(affine(params['modulation'], silu(emb)), 2)
    pixels = affine(params['out'], normed(h) * (1 + scale) + shift)
    out = np.zeros((4, 6, 2))
    for n, (i, j) in enumerate(np.ndindex(2, 3)):
        out[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = pixels[n].reshape(2, 2, 2)
    return out


@pytest.mark.parametrize('positions', ['sincos', 'rotary'])
@pytest.mark.parametrize('tokens', ['cross', 'in_context'])
def test_against_numpy(positions, tokens):
    net = DiT(**TINY, positions=positions, tokens=tokens, condition=PARTS)
    apply, params, x, c = built(net, (3, 4, 6, 1))
    emb, told, _ = Embedding(256, 16, PARTS, waves).apply({'params': params['embedding']}, c, ROWS)
    expected = [by_hand(net, params, *map(np.asarray, row)) for row in zip(x, emb, *told, strict=True)]
    got = apply(params, x, c, ROWS, None)
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())


def test_waves_are_the_official_ones_and_float32_for_coarser_times():
    c = np.array([-5.0, 0.0, 999.0])
    expected = [[f(v * 10000 ** (-i / 3)) for f in (np.cos, np.sin) for i in range(3)] for v in c]
    np.testing.assert_allclose(waves(jnp.asarray(c, jnp.float32), 6), expected, atol=1e-4)
    coarse = waves(jnp.array([999.0], jnp.float16), 6)
    assert coarse.dtype == jnp.float32
    np.testing.assert_allclose(coarse, expected[2:], atol=1e-4)


@pytest.mark.parametrize('options', [{}, {'tokens': 'in_context', 'positions': 'rotary'}])
def test_the_output_is_zero_and_every_block_the_identity_at_initialisation(options):
    net = DiT(**TINY, **options, condition=PARTS)
    init, apply = functional(net)
    x, c = jax.random.normal(jax.random.key(1), (3, 4, 4, 1)), jnp.arange(3.0)
    params = jax.jit(init)(jax.random.key(0), x, c)
    assert not jax.jit(apply)(params, x, c, ROWS, None).any()
    h, emb, tokens = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(3, 4, 16), (3, 16), (3, 3, 16)]))
    block = jax.tree.map(lambda p: p[0], params['blocks'])
    told = Told(emb, Masked(tokens, jnp.asarray(MASK))) if not options else Told(emb)
    np.testing.assert_array_equal(jax.jit(Block(2).apply)({'params': block}, h, told)[0], h)
    # The official initialisation: tables and the level's layers are normal, the blocks' layers are each layer's own.
    for p in (params['embedding']['dense_1']['kernel'], params['embedding']['dense_2']['kernel']):
        assert np.std(p) == pytest.approx(0.02, rel=0.15)
    qkv = params['blocks']['qkv']['kernel']
    assert np.abs(qkv).max() == pytest.approx(np.sqrt(6 / (16 + 48)), rel=0.02)
    assert np.abs(qkv[0] - qkv[1]).mean() > 0.1


@pytest.mark.parametrize(('shape', 'patch'), [((6,), (3,)), ((4, 6), (2, 3)), ((2, 4, 6), (1, 2, 3))])
def test_patches_and_back(shape, patch):
    x = np.random.default_rng(0).standard_normal((2, *shape, 3)).astype('float32')
    grid = tuple(s // p for s, p in zip(shape, patch, strict=True))
    cut = patches(jnp.asarray(x), patch)
    for n, place in enumerate(np.ndindex(grid)):
        cell = tuple(slice(i * p, (i + 1) * p) for i, p in zip(place, patch, strict=True))
        np.testing.assert_array_equal(cut[:, n], x[(slice(None), *cell)].reshape(2, -1))
    np.testing.assert_array_equal(whole(cut, grid, patch), x)


@pytest.mark.parametrize(('positions', 'blind'), [(None, True), ('sincos', False), ('rotary', False)])
def test_only_positions_tell_one_patch_from_another(positions, blind):
    apply, params, x, c = built(DiT(**TINY, positions=positions), (2, 4, 6, 1))
    order = np.array([3, 0, 5, 1, 2, 4])

    def shuffled(x):
        return whole(patches(x, (2, 2))[:, order], (2, 3), (2, 2))

    out = apply(params, x, c, None, None)
    error = jnp.abs(apply(params, shuffled(x), c, None, None) - shuffled(out)).max() / jnp.abs(out).max()
    assert error < 1e-5 if blind else error > 0.01


@pytest.mark.parametrize('tokens', ['cross', 'in_context'])
def test_masked_tokens_have_no_influence_and_none_is_nothing(tokens):
    apply, params, x, c = built(DiT(**TINY, tokens=tokens, condition=PARTS), (3, 4, 4, 1))
    words, kind = ROWS['words'], ROWS['kind']
    out = apply(params, x, c, ROWS, None)
    others = Masked(np.where(MASK, words.values, 10**6), MASK)
    np.testing.assert_array_equal(apply(params, x, c, {'kind': kind, 'words': others}, None), out)
    np.testing.assert_allclose(apply(params, x, c, None, None)[2], out[2], atol=1e-5)  # the null class, no word
    # By attention alone: the mean of the words is taken out of the vector.
    deaf = {**params['embedding'], 'words_mean': jax.tree.map(jnp.zeros_like, params['embedding']['words_mean'])}
    deaf = {**params, 'embedding': deaf}
    told, nothing = (
        apply(deaf, x, c, {'kind': kind, 'words': Masked(words.values, m)}, None) for m in (MASK, np.zeros_like(MASK))
    )
    assert min(jnp.abs(told[i] - nothing[i]).max() for i in (0, 1)) > 0.01
    np.testing.assert_array_equal(told[2], nothing[2])
    plain, _, _, _ = built(DiT(**TINY, condition=PARTS['kind']), (3, 4, 4, 1))
    embedding = {k: deaf['embedding'][k] for k in ('dense_1', 'dense_2')} | {'classes': deaf['embedding']['kind']}
    np.testing.assert_allclose(plain({**deaf, 'embedding': embedding}, x, c, kind, None), nothing, atol=1e-5)


def test_an_image_beside_x_is_cut_into_the_same_patches():
    apply, params, x, c = built(DiT(**TINY, condition=Part((4, 4, 2))), (2, 4, 4, 1))
    image = Masked(np.random.default_rng(1).standard_normal((2, 4, 4, 2)).astype('float32'), np.array([True, False]))
    mask = np.ones((2, 4, 4, 1)) * image.mask[:, None, None, None]
    by_hand = jnp.asarray(np.concatenate([x, image.values * mask, mask], axis=-1), jnp.float32)
    bare = jax.jit(functional(DiT(**TINY))[1])
    np.testing.assert_allclose(apply(params, x, c, image, None), bare(params, by_hand, c, None, None), atol=1e-5)


@pytest.mark.parametrize(('shape', 'patch'), [((8,), 4), ((28, 28), 4), ((4, 8, 8), (1, 4, 2))])
@pytest.mark.parametrize('positions', ['sincos', 'rotary'])
def test_every_rank(shape, patch, positions):
    init, apply = functional(DiT(32, 1, 2, patch, positions=positions, out_channels=3))
    x, c = jnp.zeros((2, *shape, 2)), jnp.zeros((2, 2))
    params = jax.eval_shape(init, jax.random.key(0), x, c)
    assert jax.eval_shape(apply, params, x, c, None, None).shape == (2, *shape, 3)


@pytest.mark.parametrize('size', [8, 28, 32])
def test_the_defaults_take_common_images(size):
    init, apply = functional(DiT())
    x, c = jnp.zeros((1, size, size, 3)), jnp.zeros(1)
    assert jax.eval_shape(apply, jax.eval_shape(init, jax.random.key(0), x, c), x, c, None, None).shape == x.shape


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'patch': 5}, 'patch=5 does not divide x of 12x8; 1, 2, 4 do along every axis'),
        ({'patch': (2, 3)}, r'patch=\(2, 3\) does not divide x of 12x8'),
        ({'patch': 0}, 'patch=0 does not divide'),
        ({'patch': (1, 2, 2)}, 'one for each of the 2 spatial axes'),
        ({'heads': 3}, '3 attention heads do not divide 16 channels'),
        ({'positions': 'learned'}, "positions='learned' must be 'sincos', 'rotary' or None"),
        ({'tokens': 'mean'}, "tokens='mean' must be 'cross' or 'in_context'"),
        ({'remat': 'ful'}, "remat='ful' is unknown; it is one of full"),
    ],
)
def test_what_cannot_be_is_one_line(options, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            functional(DiT(**{**TINY, **options}))[0], jax.random.key(0), jnp.zeros((1, 12, 8, 1)), jnp.zeros(1)
        )


def test_both_noise_levels_are_seen_per_sample():
    apply, params, x, c = built(DiT(**TINY), (2, 4, 4, 1), levels=2)
    out = apply(params, x, c, None, None)
    for level in (0, 1):
        moved = apply(params, x, c.at[1, level].add(50.0), None, None)
        np.testing.assert_allclose(moved[0], out[0], atol=1e-5)
        assert jnp.abs(moved[1] - out[1]).mean() > 0.01


def test_dropout_needs_a_key_and_every_block_has_a_mask_of_its_own():
    apply, params, x, c = built(DiT(**TINY, dropout=0.5), (2, 4, 4, 1))
    still = apply(params, x, c, None, None)
    one, same, other = (apply(params, x, c, None, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert min(jnp.abs(one - still).mean(), jnp.abs(one - other).mean()) > 0.02
    # Every token is the sum of its two masks alone: 0, 1 or 2 in each channel, of which the last norm keeps the order.
    blocks = jax.tree.map(jnp.zeros_like, params['blocks'])
    blocks['mlp_2']['bias'] += 1.0
    blocks['modulation']['bias'] = blocks['modulation']['bias'].at[:, -16:].set(0.5)  # the gate; dropout doubles
    silent = {name: jax.tree.map(jnp.zeros_like, p) for name, p in params.items()}
    out = {'kernel': jnp.eye(16, 8), 'bias': jnp.zeros(8)}
    masks = jax.jit(functional(DiT(**TINY, dropout=0.5, positions=None))[1])
    sums = patches(masks({**silent, 'blocks': blocks, 'out': out}, x, c, None, jax.random.key(0)), (2, 2))
    assert max(len(np.unique(np.round(token, 4))) for token in sums.reshape(-1, 8)) == 3


def loss_and_params(remat, dropout=0.5):
    net = DiT(**TINY, condition=PARTS, dropout=dropout, remat=remat)
    _, params, x, c = built(net, (3, 4, 4, 1))
    apply = functional(net)[1]
    return lambda params: jnp.mean(apply(params, x, c, ROWS, jax.random.key(1)) ** 2), params


@pytest.mark.slow
def test_blocks_computed_again_give_the_same_gradient():
    """Dropout included: the same key must mean the same mask the second time."""
    (plain, params), (again, _) = loss_and_params(None), loss_and_params('full')
    expected, found = (jax.jit(jax.grad(loss))(params) for loss in (plain, again))
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * scale), found, expected)
    for path, g in jax.tree_util.tree_leaves_with_path(found):
        assert jnp.abs(g).max() > 1e-5, jax.tree_util.keystr(path)


def test_blocks_computed_again_keep_less():
    def kept(remat):
        """Numbers that the backward pass is given of the forward one."""
        loss, params = loss_and_params(remat)
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda p: jax.vjp(loss, p)[1], params)))

    assert kept('full') < 0.7 * kept(None)
    assert kept('full') < kept('dots_saveable') < kept(None)


def test_forward_mode_is_the_transpose_of_reverse_mode_and_the_difference_quotient():
    """In float32, with dropout, in x and both noise levels: as flow maps differentiate the network."""
    net = DiT(**TINY, dropout=0.5, remat='full', positions='rotary')
    _, params, x, _ = built(net, (2, 4, 4, 1))
    c = jnp.array([[0.3, 0.1], [-0.5, 0.7]])
    params = randomised(jax.eval_shape(functional(net)[0], jax.random.key(0), x, c))
    apply, rng = functional(net)[1], np.random.default_rng(3)
    dx, dc, u = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in ((2, 4, 4, 1), (2, 2), (2, 4, 4, 2)))

    @jax.jit
    def f(x, c):
        return apply(params, x, c, None, jax.random.key(0))

    tangent = jax.jit(lambda: jax.jvp(f, (x, c), (dx, dc))[1])()
    gx, gc = jax.jit(lambda: jax.vjp(f, x, c)[1](u))()
    np.testing.assert_allclose(jnp.vdot(u, tangent), jnp.vdot(gx, dx) + jnp.vdot(gc, dc), rtol=1e-4)
    h = 1e-2
    quotient = (f(x + h * dx, c + h * dc) - f(x - h * dx, c - h * dc)) / (2 * h)
    np.testing.assert_allclose(tangent, quotient, atol=5e-3 * np.abs(tangent).max())


@pytest.mark.parametrize('options', [{}, {'tokens': 'in_context', 'positions': 'rotary'}])
def test_bfloat16_computes_coarsely_and_keeps_float32_parameters(options):
    net = DiT(**TINY, condition=PARTS, **options)
    apply, params, x, c = built(net, (3, 4, 4, 1))
    coarse = functional(net.copy(dtype='bfloat16'))
    kinds = {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(coarse[0], jax.random.key(0), x, c))}
    assert kinds == {jnp.dtype('float32')}
    exact, rough = apply(params, x, c, ROWS, None), jax.jit(coarse[1])(params, x, c, ROWS, None)
    assert rough.dtype == jnp.float32
    error = jnp.sqrt(jnp.mean((exact - rough) ** 2) / jnp.mean(exact**2))
    assert 1e-4 < error < 0.03
    with jax.enable_x64(True):
        double = apply(params, x.astype('float64'), c.astype('float64'), ROWS, None)
    assert double.dtype == jnp.float64
    np.testing.assert_allclose(exact, double, atol=1e-4)


def test_depth_costs_no_operations_to_compile():
    def lines(depth):
        init, apply = functional(DiT(**{**TINY, 'depth': depth}))
        x, c = jnp.ones((2, 4, 4, 1)), jnp.ones(2)
        params = jax.eval_shape(init, jax.random.key(0), x, c)
        loss = jax.jit(jax.grad(lambda p: jnp.mean(apply(p, x, c, None, None) ** 2)))
        return len(loss.lower(params).as_text().splitlines())

    assert lines(2) == lines(12)


@pytest.mark.slow
def test_depth_costs_no_compile_time():
    program = """
import time, jax, jax.numpy as jnp
from diffusion_jax.nets import DiT, functional
def seconds(depth):
    init, apply = functional(DiT(64, depth, 4, 2))
    x, c = jnp.ones((4, 8, 8, 3)), jnp.ones(4)
    params = jax.eval_shape(init, jax.random.key(0), x, c)
    start = time.process_time()
    jax.jit(jax.grad(lambda p: jnp.mean(apply(p, x, c, None, None) ** 2))).lower(params).compile()
    return time.process_time() - start
seconds(1)
print(min(seconds(2) for _ in range(3)), min(seconds(12) for _ in range(3)))
"""
    env = {**processes.environment(1), 'JAX_ENABLE_COMPILATION_CACHE': 'false'}
    call = [sys.executable, '-c', program]
    out = subprocess.run(call, cwd=processes.ROOT, env=env, capture_output=True, text=True, check=True, timeout=900)
    two, twelve = map(float, out.stdout.split())
    assert twelve < 1.3 * two
