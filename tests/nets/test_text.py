"""The encoder of texts: blind to padding, not to order, and absent unless asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import DiT, UNet, functional
from diffusion_jax.nets.condition import Embedding
from diffusion_jax.nets.text import TextEncoder
from diffusion_jax.types import Masked, Part
from tests.nets.cases import built, randomised

pytestmark = pytest.mark.slow

WORDS = Part((6,), 9, sequence=True)
NETS = {
    'unet': lambda layers: UNet(
        channels=8, multipliers=(1,), blocks=1, attention=(), dropout=0.0, condition=WORDS, text_layers=layers
    ),
    'dit': lambda layers: DiT(hidden=8, depth=1, heads=2, condition=WORDS, text_layers=layers),
}


def encoder(layers=2, seed=0, length=6):
    """(tokens -> tokens, tokens [2, L, 8] of which the second has three places)."""
    module = TextEncoder(layers, heads=2)
    x = jnp.asarray(np.random.default_rng(seed).standard_normal((2, length, 8)), jnp.float32)
    tokens = Masked(x, jnp.asarray(np.arange(length) < np.array([[length], [3]])))
    params = randomised(jax.eval_shape(lambda: module.init(jax.random.key(0), tokens))['params'])
    return jax.jit(lambda tokens: module.apply({'params': params}, tokens)), tokens


def test_a_padded_text_is_the_text_alone():
    encode, tokens = encoder()
    out = encode(tokens)
    alone = encode(Masked(tokens.values[1:, :3], tokens.mask[1:, :3]))
    np.testing.assert_allclose(out.values[1, :3], alone.values[0], atol=1e-6)
    assert not out.values[1, 3:].any()
    np.testing.assert_array_equal(out.mask, tokens.mask)
    noise = jnp.where(tokens.mask[..., None], tokens.values, 1e3)
    np.testing.assert_array_equal(encode(Masked(noise, tokens.mask)).values, out.values)


def test_without_positions_it_is_equivariant_and_every_place_sees_every_other():
    encode, tokens = encoder()
    x, turn = tokens.values[:1], jnp.array([2, 0, 1, 5, 3, 4])
    there = jnp.ones((1, 6), bool)
    out = encode(Masked(x, there)).values
    np.testing.assert_allclose(encode(Masked(x[:, turn], there)).values, out[:, turn], atol=1e-5)
    changed = encode(Masked(x.at[0, 4, 0].add(3.0), there)).values
    assert (jnp.abs(changed - out).max(-1) > 1e-3).all()


def test_no_text_at_all_is_finite_and_nothing():
    encode, tokens = encoder()
    assert not encode(Masked(tokens.values, jnp.zeros((2, 6), bool))).values.any()


def test_at_first_it_is_a_norm():
    module = TextEncoder(3)
    _, tokens = encoder()
    params = module.init(jax.random.key(0), tokens)
    x = np.asarray(tokens.values[:1], np.float64)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(module.apply(params, tokens).values[:1], expected, atol=1e-4)


@pytest.mark.parametrize('name', NETS)
def test_networks_do_not_see_padding_and_see_order(name):
    apply, params, x, c = built(NETS[name](2), (3, 4, 4, 3))
    mask = np.arange(6) < np.array([[2], [6], [0]])
    words = np.random.default_rng(1).integers(0, 9, (3, 6))
    out = apply(params, x, c, Masked(words, mask), None)
    other = np.where(mask, words, (words + 4) % 9)
    np.testing.assert_array_equal(apply(params, x, c, Masked(other, mask), None), out)
    swapped = words.copy()
    swapped[:, :2] = [[1, 2]]
    a = apply(params, x, c, Masked(swapped, mask), None)
    swapped[:, :2] = [[2, 1]]
    b = apply(params, x, c, Masked(swapped, mask), None)
    moved = np.abs(np.asarray(a - b)).max((1, 2, 3))
    assert (moved[:2] > 1e-3).all()
    assert moved[2] == 0


def test_the_mean_of_a_text_knows_its_order():
    """Without the encoder the vector is that of a bag of words: positions are added, and the mean forgets them."""
    words = Masked(np.array([[1, 2, 3, 0, 0, 0], [3, 2, 1, 0, 0, 0]]), np.arange(6) < np.array([[3], [3]]))
    c = jnp.ones(2)

    def vectors(layers):
        module = Embedding(4, 8, WORDS, text_layers=layers)
        params = randomised(jax.eval_shape(lambda: module.init(jax.random.key(0), c, None))['params'])
        return module.apply({'params': params}, c, words).vector

    bag, read = vectors(0), vectors(2)
    np.testing.assert_allclose(bag[0], bag[1], atol=1e-5)
    assert np.abs(np.asarray(read[0] - read[1])).max() > 1e-2


@pytest.mark.parametrize('name', NETS)
def test_its_weights_are_there_when_asked_for_alone(name):
    x, c = jnp.zeros((1, 4, 4, 3)), jnp.zeros(1)
    plain, told = (functional(NETS[name](layers))[0](jax.random.key(0), x, c) for layers in (0, 2))
    assert 'sequence_text' not in plain['embedding']
    encoder = told['embedding'].pop('sequence_text')
    assert {f'{part}_{i}' for part in ('qkv', 'out', 'mlp_1', 'mlp_2') for i in range(2)} < {*encoder}
    jax.tree.map(np.testing.assert_array_equal, plain, told)  # the others begin as ever
