"""Kernels k(x, y; t, s) of a maximum mean discrepancy between groups of samples."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.ranges import within

__all__ = ['energy', 'laplace']

# (x [G, M, ...], y [G, M, ...], t [G], s [G]) -> k [G, M, M], of each x with each y of its group
Kernel = Callable[[Array, Array, Array, Array], Array]


def laplace(sigma_data: float = 0.5) -> Kernel:
    """IMM's exp(-w ||x - y|| / D) in D dimensions, w = 1 / c_out(t, s) = 1 / ((t - s) sigma_data) (arXiv 2503.07565).

    c_out is the factor of the network in the paper's map for rectified flow, x_s = x_t - (t - s) sigma_data F: the
    kernel is as wide as the way that the map may go. So in a
    reimplementation; another has t for t - s. sigma_data is in (0, inf).
    """
    within('(0, inf)', sigma_data=sigma_data)

    def kernel(x, y, t, s):
        w = 1 / (sigma_data * jnp.maximum(t - s, jnp.finfo(t.dtype).eps))
        return jnp.exp(-w[:, None, None] * _norms(x, y) / np.prod(x.shape[2:]))

    return kernel


def energy(beta: float = 1.0) -> Kernel:
    """-||x - y||^beta, beta in (0, 2]: below 2 the energy distance; 2 compares means alone, and for M = 1 it is L2."""
    within('(0, 2]', beta=beta)
    return lambda x, y, t, s: -(_norms(x, y) ** beta)


def _norms(x: Float[Array, 'g m ...'], y: Float[Array, 'g n ...']) -> Float[Array, 'g m n']:
    """||x_i - y_j||, with derivative 0 where they are equal."""
    square = jnp.sum((x[:, :, None] - y[:, None]) ** 2, axis=tuple(range(3, x.ndim + 1)))
    apart = square > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
