"""The U-Net that attends to a frozen transformer of texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import TextUNet, functional
from diffusion_jax.nets.clip_text import CLIPText
from diffusion_jax.nets.layout import adm
from diffusion_jax.nets.spatial_transformer import SpatialTransformer
from diffusion_jax.types import Masked, Part

pytestmark = pytest.mark.slow

PARTS = {'text': Part((5,), 11, True), 'w': Part((1,))}
TEXT = CLIPText(vocabulary=11, length=5, width=8, layers=1, heads=2, mlp=8)
X = jax.random.normal(jax.random.key(7), (2, 4, 4, 4))


def told(tokens, w=None):
    tokens = jnp.asarray(tokens, jnp.int32)
    n = len(tokens)
    w = Masked(jnp.full((n, 1), 0.0 if w is None else w), jnp.full(n, w is not None))
    return {'text': Masked(tokens, jnp.ones(tokens.shape, bool)), 'w': w}


A, B = [[1, 2, 3, 4, 5]] * 2, [[1, 2, 3, 4, 6]] * 2


def network(condition=None):
    sizes = {'channels': 8, 'multipliers': (1,), 'blocks': 1, 'attention': (4,), 'heads': 2, 'dropout': 0.0}
    return functional(TextUNet(**sizes, out_channels=4, layout=adm(4), condition=condition or PARTS, text=TEXT))


@pytest.fixture(scope='module')
def built():
    """(apply, params with no zeros)."""
    init, apply = network()
    params = jax.jit(init)(jax.random.key(0), X, jnp.zeros(2), told(A))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    shaken = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.jit(lambda p, cond: apply(p, X, jnp.full(2, 9.0), cond, None)), tree.unflatten(shaken), params


def test_it_hears_the_text_and_the_weight_where_it_is_told(built):
    run, params, _ = built
    plain = run(params, told(A))
    assert np.abs(plain - run(params, told(B))).max() > 1e-3
    assert np.abs(plain - run(params, told(A, 7.5))).max() > 1e-3
    silent = {**told(A), 'w': Masked(jnp.full((2, 1), 7.5), jnp.zeros(2, bool))}
    np.testing.assert_array_equal(plain, run(params, silent))


def test_at_first_the_weight_changes_nothing(built):
    run, params, fresh = built
    params = {**params, 'embedding': {**params['embedding'], 'w': fresh['embedding']['w']}}
    np.testing.assert_array_equal(run(params, told(A)), run(params, told(A, 7.5)))


def test_the_text_is_frozen(built):
    run, params, _ = built
    grad = jax.grad(lambda p: jnp.mean(run(p, told(A)) ** 2))(params)
    assert not any(jnp.any(g) for g in jax.tree.leaves(grad['text']))
    cross = grad['middle_attention']['block_0']['cross']
    assert all(jnp.any(g['kernel']) for g in cross.values())


def test_another_condition_is_refused():
    init, _ = network({'text': PARTS['text']})
    with pytest.raises(ValueError, match='is told text, a sequence of tokens, and w'):
        jax.eval_shape(init, jax.random.key(0), X, jnp.zeros(2))


def test_a_place_of_a_text_sees_none_behind_it():
    tokens = jnp.array([[1, 2, 3, 4, 5], [1, 2, 3, 9, 5]])
    states, _ = jax.jit(TEXT.init_with_output)(jax.random.key(0), tokens)
    np.testing.assert_array_equal(states[0, :3], states[1, :3])
    assert (np.abs(states[0, 3:] - states[1, 3:]).max(-1) > 1e-4).all()
    with pytest.raises(ValueError, match='at most 5 tokens; got 6'):
        jax.eval_shape(TEXT.init, jax.random.key(0), jnp.zeros((1, 6), jnp.int32))


def test_a_spatial_transformer_knows_no_places_and_no_tokens_that_are_not_there():
    """But for its norm, which is of groups of channels over all pixels, pixels are a set, and tokens are."""
    block = SpatialTransformer(2, layout=adm(4))
    tokens = Masked(jax.random.normal(jax.random.key(1), (2, 3, 6)), jnp.array([[True, True, False]] * 2))
    x = jax.random.normal(jax.random.key(2), (2, 4, 8))
    params = jax.jit(block.init)(jax.random.key(0), x, tokens)
    params = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    run = jax.jit(block.apply)
    y, order = run(params, x, tokens), jnp.array([2, 0, 3, 1])
    np.testing.assert_allclose(run(params, x[:, order], tokens), y[:, order], rtol=1e-4, atol=1e-5)
    swapped = Masked(tokens.values[:, jnp.array([1, 0, 2])].at[:, 2].set(9.0), tokens.mask)
    np.testing.assert_allclose(run(params, x, swapped), y, rtol=1e-4, atol=1e-5)
