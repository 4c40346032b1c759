"""Augmentations, on the device: factories of functions `(key, x [B, ...]) -> x`."""

import jax
import jax.numpy as jnp

from diffusion_jax.ranges import whole
from diffusion_jax.types import Array, Key

__all__ = ['flip', 'roll', 'shift']


def flip():
    """Each image `[H, W, C]`, or all frames of a video, mirrored left to right with probability one half.

    Raises:
        ValueError: in use, for data without a height and a width.
    """

    def apply(key: Key, x: Array) -> Array:
        if x.ndim < 4:
            raise ValueError(f'flip needs images [b, h, w, c], this data has shape {x.shape}')
        mirrored = jax.random.bernoulli(key, shape=(x.shape[0],) + (1,) * (x.ndim - 1))
        return jnp.where(mirrored, jnp.flip(x, -2), x)

    return apply


def roll():
    """Each sample moved by a random number of places along its first axis, around the end: for periodic data."""

    def apply(key: Key, x: Array) -> Array:
        shift = jax.random.randint(key, x.shape[:1], 0, x.shape[1])
        return jax.vmap(lambda a, s: jnp.roll(a, s, 0))(x, shift)

    return apply


def shift(pixels: int = 1):
    """Each image `[H, W, C]`, or video, moved by up to `pixels` along height and width, uniformly; what comes in is -1.

    `pixels` is in [0, inf); anything else is a ValueError.

    Raises:
        ValueError: in use, for data without a height and a width.
    """
    whole('[0, inf)', pixels=pixels)

    def apply(key: Key, x: Array) -> Array:
        if x.ndim < 4:
            raise ValueError(f'shift needs images [b, h, w, c], this data has shape {x.shape}')
        by = jax.random.randint(key, (len(x), 2), 0, 2 * pixels + 1)
        padded = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(pixels, pixels)] * 2 + [(0, 0)], constant_values=-1)

        def moved(a, i):
            return jax.lax.dynamic_slice(a, [*[0] * (a.ndim - 3), i[0], i[1], 0], x.shape[1:])

        return jax.vmap(moved)(padded, by)

    return apply
