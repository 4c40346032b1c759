"""Where a patch is, on a grid of any number of axes: sinusoids to be added, or rotations of queries and keys."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def sincos(grid: tuple[int, ...], features: int) -> Float[np.ndarray, 'n f']:
    """DiT's fixed embedding (arXiv 2212.09748, official code) of each place of a grid, in C order.

    Each axis has an equal share of the features, the last axis the first: [sin(w_i k) ..., cos(w_i k) ...] of the index
    k along it, with w_i = 10000^(-i / m) for i = 0 .. m - 1. What cannot be shared out is 0.

    Raises:
        ValueError: less than two features for each axis.
    """
    angles = _angles(grid, features // (2 * len(grid)))[::-1]
    return _filled(np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], axis=1), features)


def rotary(grid: tuple[int, ...], size: int) -> Float[np.ndarray, 'n half']:
    """The angles by which `rotated` turns a head of this size at each place of a grid, in C order.

    RoFormer's w_i k (arXiv 2104.09864) with w_i = 10000^(-i / m) for i = 0 .. m - 1; but every axis has its own index k
    and an equal share of the pairs. What cannot be shared out is 0.

    Raises:
        ValueError: an odd size, or less than two numbers for each axis.
    """
    if size % 2:
        raise ValueError(f'rotary positions need an even number of channels in a head, got {size}')
    return _filled(np.concatenate(_angles(grid, size // (2 * len(grid))), axis=1), size // 2)


def rotated(x: Float[Array, 'b n h d'], angles: Float[Array | np.ndarray, 'n half']) -> Float[Array, 'b n h d']:
    """Every pair (x_i, x_{i + d / 2}) of a head turned by its place's angle: `[B, N, heads, D]`."""
    cos, sin = (jnp.asarray(f(angles), x.dtype)[None, :, None, :] for f in (jnp.cos, jnp.sin))
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def _angles(grid: tuple[int, ...], m: int) -> list[np.ndarray]:
    """w_i k of each axis, `[places, m]`."""
    if m < 1:
        raise ValueError(f'positions on {len(grid)} axes need at least {2 * len(grid)} channels')
    w = 10_000.0 ** (-np.arange(m) / m)
    return [k.reshape(math.prod(grid), 1) * w for k in np.indices(grid)]


def _filled(values: np.ndarray, width: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))
