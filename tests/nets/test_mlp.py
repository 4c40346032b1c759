import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import MLP, functional
from diffusion_jax.nets.blocks import sinusoid
from diffusion_jax.types import Part
from tests.nets.cases import built


def silu(x):
    return x / (1 + np.exp(-x))


def test_against_numpy():
    apply, params, x, c = built(MLP(out_dim=3, width=16, depth=2), (5, 2))

    def layer(p, z):
        return z @ np.asarray(p['kernel'], 'float64') + np.asarray(p['bias'], 'float64')

    emb = layer(params['embedding']['dense_1'], np.asarray(sinusoid(c, 16)))
    emb = layer(params['embedding']['dense_2'], silu(emb))
    h = layer(params['dense_in'], np.asarray(x))
    for i in range(2):
        r = layer(params[f'block_{i}_dense_1'], silu(h + emb))
        h = h + layer(params[f'block_{i}_dense_2'], silu(r))
    expected = layer(params['dense_out'], silu(h))
    assert expected.shape == (5, 3)
    np.testing.assert_allclose(apply(params, x, c, None, None), expected, atol=1e-5 * np.abs(expected).max())


def test_two_noise_levels_have_layers_of_their_own_and_are_summed():
    apply, params, x, c = built(MLP(out_dim=3, width=16, depth=2, condition=Part((), 2)), (5, 2), levels=2)
    emb = params['embedding']
    assert sorted(emb) == ['classes', 'dense_1', 'dense_2', 'second_dense_1', 'second_dense_2']
    one, one_params, _, _ = built(MLP(out_dim=3, width=16, depth=2, condition=Part((), 2)), (5, 2))
    assert set(one_params['embedding']) == {'classes', 'dense_1', 'dense_2'}  # as before there were two
    # Without its second level it is the network of the first; and the other way round.
    for prefix, other, column in (('', 'second_', 0), ('second_', '', 1)):
        silent = {**emb, f'{other}dense_2': jax.tree.map(jnp.zeros_like, emb[f'{other}dense_2'])}
        alone = {'classes': emb['classes'], 'dense_1': emb[f'{prefix}dense_1'], 'dense_2': emb[f'{prefix}dense_2']}
        got = apply({**params, 'embedding': silent}, x, c, None, None)
        np.testing.assert_allclose(got, one({**params, 'embedding': alone}, x, c[:, column], None, None), rtol=1e-5)
        assert jnp.abs(got - apply(params, x, c, None, None)).mean() > 0.01


@pytest.mark.parametrize('shape', [(5, 1), (5, 3), (5, 2, 1)])
def test_other_shapes_of_the_noise_level_are_refused(shape):
    init, _ = functional(MLP(width=8))
    with pytest.raises(ValueError, match=r'must be \[B\] or \[B, 2\]'):
        jax.eval_shape(init, jax.random.key(0), jnp.zeros((5, 2)), jnp.zeros(shape))


def test_classes_and_the_null_class():
    apply, params, x, c = built(MLP(width=16, condition=Part((), 2)), (4, 2))
    outs = [apply(params, x, c, jnp.full(4, k), None) for k in range(3)]
    assert min(jnp.abs(outs[i] - outs[j]).mean() for i in range(3) for j in range(i)) > 0.01
    np.testing.assert_array_equal(apply(params, x, c, None, None), outs[2])


def test_gradient_reaches_every_parameter():
    apply, params, x, c = built(MLP(width=16, condition=Part((), 3)), (4, 2))
    grads = jax.grad(lambda p: jnp.mean(apply(p, x, c, jnp.arange(4), None) ** 2))(params)
    for path, g in jax.tree_util.tree_leaves_with_path(grads):
        assert jnp.abs(g).max() > 1e-5, jax.tree_util.keystr(path)


@pytest.mark.parametrize('c_noise', [-5.0, 0.25, 1000.0])
def test_the_derivative_in_time_is_the_difference_quotient(c_noise):
    apply, params, x, _ = built(MLP(width=16), (3, 2))
    with jax.enable_x64(True):
        x, c = x.astype('float64'), jnp.full(3, c_noise)
        slope = jax.jvp(lambda s: apply(params, x, s, None, None), (c,), (jnp.ones(3),))[1]
        h = 1e-4
        quotient = (apply(params, x, c + h, None, None) - apply(params, x, c - h, None, None)) / (2 * h)
        assert slope.dtype == jnp.float64
    assert np.abs(slope).max() > 1e-3
    np.testing.assert_allclose(slope, quotient, atol=1e-6)
