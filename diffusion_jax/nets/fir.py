"""Changes of the resolution through the filter [1, 3, 3, 1] / 8 (StyleGAN2; NCSN++ of arXiv 2011.13456, its code).

Beyond the edges there are zeros. An axis changes by 2, or by 1 and stays as it is.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def downsample(x: Float[Array, 'b ... c'], strides: Sequence[int]) -> Float[Array, 'b ... c']:
    """Every spatial axis of stride 2 filtered and halved; ValueError for another stride."""
    for axis in _halved(strides):
        x = _filtered(x, axis, pad=1, stride=2)
    return x


def upsample(x: Float[Array, 'b ... c'], strides: Sequence[int]) -> Float[Array, 'b ... c']:
    """Every spatial axis of stride 2 doubled by zeros between its pixels and filtered, so that constants stay.

    Raises:
        ValueError: another stride.
    """
    for axis in _halved(strides):
        padded, n = _padded(x, axis, 1), x.shape[axis]
        before, after = (jax.lax.slice_in_dim(padded, k, k + n, axis=axis) for k in (0, 2))
        pairs = jnp.stack([(before + 3 * x) / 4, (3 * x + after) / 4], axis=axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return x


def blurred(x: Float[Array, 'b ... c'], strides: Sequence[int]) -> Float[Array, 'b ... c']:
    """Every spatial axis of stride 2 filtered, to one pixel more, for a 3 wide convolution of stride 2 without padding.

    Raises:
        ValueError: another stride.
    """
    for axis in _halved(strides):
        x = _filtered(x, axis, pad=2, stride=1)
    return x


def _halved(strides: Sequence[int]) -> list[int]:
    if set(strides) - {1, 2}:
        raise ValueError(f'strides={(*strides,)}: through a filter an axis changes by 2, or stays')
    return [axis for axis, stride in enumerate(strides, 1) if stride == 2]


def _padded(x: Array, axis: int, by: int) -> Array:
    return jnp.pad(x, [(by, by) if i == axis else (0, 0) for i in range(x.ndim)])


def _filtered(x: Array, axis: int, pad: int, stride: int) -> Array:
    x = _padded(x, axis, pad)
    last = x.shape[axis] - len(_TAPS)
    shifted = (jax.lax.slice_in_dim(x, k, k + last + 1, stride, axis) for k in range(len(_TAPS)))
    return sum(jnp.asarray(tap, x.dtype) * y for tap, y in zip(_TAPS, shifted, strict=True))  # pyright: ignore
