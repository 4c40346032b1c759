import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import MLP, UNet, functional
from diffusion_jax.types import Part

NET = UNet(16, (1,), 1, (), dropout=0.5, condition=Part((), 2))
X, C, COND = jnp.ones((2, 4, 4, 1)), jnp.ones(2), jnp.array([0, 1])


@pytest.mark.slow
def test_init_gives_the_same_float32_tree_with_and_without_classes_and_jit():
    init, _ = functional(NET)
    params = jax.jit(init)(jax.random.key(0), X, C)
    assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype('float32')}
    jax.tree.map(np.testing.assert_array_equal, params, jax.jit(init)(jax.random.key(0), X, C, COND))
    other = jax.jit(init)(jax.random.key(1), X, C)
    assert jnp.abs(other['conv_in']['kernel'] - params['conv_in']['kernel']).max() > 0.01


@pytest.mark.slow
def test_apply_is_the_modules_apply():
    init, apply = functional(NET)
    params = jax.tree.map(lambda p: p + 0.1, jax.jit(init)(jax.random.key(0), X, C))
    key = jax.random.key(7)
    np.testing.assert_array_equal(apply(params, X, C, COND, None), NET.apply({'params': params}, X, C, COND))
    dropped = NET.apply({'params': params}, X, C, COND, deterministic=False, rngs={'dropout': key})
    np.testing.assert_array_equal(apply(params, X, C, COND, key), dropped)
    assert jnp.abs(dropped - apply(params, X, C, COND, None)).max() > 1e-3


def test_a_point_network_takes_the_same_call():
    init, apply = functional(MLP(out_dim=5, width=8))
    params = init(jax.random.key(0), jnp.ones((3, 5)), jnp.ones(3))
    assert apply(params, jnp.ones((3, 5)), jnp.ones(3), None, jax.random.key(0)).shape == (3, 5)
