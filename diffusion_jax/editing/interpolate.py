"""Spherical interpolation of latents."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import per_sample


def slerp(x_T: Float[Array, 'b ...'], y_T: Float[Array, 'b ...'], w: Float[Array, ' b']) -> Float[Array, 'b ...']:
    """Spherical interpolation of latents: x_T at w = 0, y_T at w = 1 (arXiv 2010.02502, eq. 67).

    Both are `[B, ...]` and not zero; where they are parallel the interpolation is linear.
    """
    axes = tuple(range(1, x_T.ndim))
    norms = jnp.sqrt(jnp.sum(x_T**2, axes) * jnp.sum(y_T**2, axes))
    theta = jnp.arccos(jnp.clip(jnp.sum(x_T * y_T, axes) / norms, -1, 1))
    parallel = jnp.sin(theta) < 1e-6
    sin = jnp.where(parallel, 1, jnp.sin(theta))
    a = jnp.where(parallel, 1 - w, jnp.sin((1 - w) * theta) / sin)
    b = jnp.where(parallel, w, jnp.sin(w * theta) / sin)
    return per_sample(a, x_T) * x_T + per_sample(b, x_T) * y_T
