"""Linear operators that say what of an image is known: y = A x, with the pseudo-inverse A+ (A A+ A = A)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool

CM_LUMA = (0.2989, 0.5870, 0.1140)  # the weights of the colourisation in consistency models' released code


class Operator(NamedTuple):
    """Any linear operator by its two functions, on batches."""

    A: Callable[[Array], Array]  # x [B, ...] -> y [B, ...]
    pinv: Callable[[Array], Array]  # y [B, ...] -> x [B, ...], with A(pinv(A(x))) = A(x)


def inpaint(known: Bool[Array, '...']) -> Operator:
    """The values where `known` is True are known; it has the axes of one sample, some may have size one.

    A+ A is exact: a known value passes it bit for bit.
    """

    def A(x):
        return jnp.where(known[None], x, 0)

    return Operator(A, A)


def colourise(weights: Sequence[float] = CM_LUMA) -> Operator:
    """The weighted sum over the last axis is known, `[..., 1]`; equal weights are DDNM's (arXiv 2212.00490).

    Raises:
        ValueError: for weights that are all 0, and in use for samples with another number of channels.
    """
    if not any(weights):
        raise ValueError(f'one weight at least must not be 0; got {weights}')

    def A(x):
        if x.shape[-1] != len(weights):
            raise ValueError(f'there are weights for {len(weights)} channels, samples have {x.shape[-1]}')
        w = jnp.asarray(weights, x.dtype)
        return jnp.sum(x * _along_last(w, x), -1, keepdims=True)

    def pinv(y):
        w = jnp.asarray(weights, y.dtype)
        return y * _along_last(w / jnp.sum(w**2), y)

    return Operator(A, pinv)


def _along_last(w, x):
    return w.reshape((1,) * (x.ndim - 1) + w.shape)


def super_resolve(factor: int) -> Operator:
    """The means of blocks of `factor` along every axis but the last, the channels, are known.

    Raises:
        ValueError: for a factor below 2, and in use for a sample that has no such axis or that blocks do not divide.
    """
    if factor < 2:
        raise ValueError(f'factor must be at least 2; got {factor}')

    def A(x):
        sizes = x.shape[1:-1]
        if not sizes or any(size % factor for size in sizes):
            raise ValueError(f'blocks of {factor} do not divide samples of shape {x.shape[1:]}')
        blocks = [part for size in sizes for part in (size // factor, factor)]
        within = tuple(range(2, 2 * len(sizes) + 1, 2))
        return jnp.mean(x.reshape(x.shape[0], *blocks, x.shape[-1]), within)

    def pinv(y):
        for axis in range(1, y.ndim - 1):
            y = jnp.repeat(y, factor, axis)
        return y

    return Operator(A, pinv)
