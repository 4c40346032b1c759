"""Parameters and inputs that the network tests share."""

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.nets import functional


def randomised(params, seed=1):
    """Every leaf drawn at random: at initialisation the last layers are almost zero, which would hide everything.

    By NumPy and from the shapes alone, because compiling an initialiser per leaf takes longer than the tests.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        scale = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.2
        offset = 1 if path[-1].key == 'scale' else 0
        return jnp.asarray(offset + scale * rng.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, params)


def built(net, shape, seed=0, levels=1):
    """`(apply, randomised params, x, c_noise)` of a network on inputs of this shape, and of so many noise levels."""
    init, apply = functional(net)
    x = jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)
    c_noise = jnp.linspace(0.5, 900.0, shape[0])
    if levels > 1:
        c_noise = jnp.stack([c_noise, c_noise[::-1]], axis=-1)
    return jax.jit(apply), randomised(jax.eval_shape(init, jax.random.key(0), x, c_noise)), x, c_noise
