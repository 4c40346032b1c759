"""Axes of batches `[B, ...]`: what is one number per sample meets what has a whole event per sample."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


def per_sample(coefficient: Shaped[Array, '*b'], x: Float[Array, '...']) -> Shaped[Array, '...']:
    """A coefficient `[]` or `[B]` with trailing axes of size one, to multiply `x [B, ...]`."""
    return (
        coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim)) if coefficient.ndim else coefficient
    )


def expand_time(t: Float[Array, ''], x: Shaped[Array, 'b ...']) -> Float[Array, ' b']:
    """A step's one time `[]` as `[B]`, one per sample."""
    return jnp.full(x.shape[:1], t)


def event_axes(x: Shaped[Array, 'b ...']) -> tuple[int, ...]:
    """All axes but the first."""
    return tuple(range(1, x.ndim))


def mean_square(x: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """Mean over the event axes of the square: `[B, ...]` to `[B]`."""
    return jnp.mean(x**2, axis=event_axes(x))


def sum_square(x: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """Sum over the event axes of the square, ||x||^2: `[B, ...]` to `[B]`."""
    return jnp.sum(x**2, axis=event_axes(x))
