import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import MLP
from diffusion_jax.nets.blocks import sinusoid
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


def test_classes_and_the_null_class():
    apply, params, x, c = built(MLP(width=16, num_classes=2), (4, 2))
    outs = [apply(params, x, c, jnp.full(4, k), None) for k in range(3)]
    assert min(jnp.abs(outs[i] - outs[j]).mean() for i in range(3) for j in range(i)) > 0.01
    np.testing.assert_array_equal(apply(params, x, c, None, None), outs[2])


def test_gradient_reaches_every_parameter():
    apply, params, x, c = built(MLP(width=16, num_classes=3), (4, 2))
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
