"""Augmentations, on the device: factories of functions `(key, x [B, ...]) -> x`."""

import jax
import jax.numpy as jnp

from diffusion_jax.types import Array, Key

__all__ = ['flip', 'roll']


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
