"""Axes of batches `[B, ...]`: what is one number per sample meets what has a whole event per sample."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped


def per_sample(coefficient: Shaped[Array, '*b'], x: Shaped[Array, '...']) -> Shaped[Array, '...']:
    """A coefficient `[]` or `[B]` with trailing axes of size one, to multiply `x [B, ...]`."""
    return (
        coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim)) if coefficient.ndim else coefficient
    )


def expand_time(t: Float[Array, ''], x: Shaped[Array, 'b ...']) -> Float[Array, ' b']:
    """A step's one time `[]` as `[B]`, one per sample."""
    return jnp.full(x.shape[:1], t)


def as_times(times: Any, x: Shaped[Array, 'b ...']) -> Float[Array, '...']:
    """Times in float32, whatever x is (float64 beside float64): in bfloat16 neighbours coincide, as integers most."""
    return jnp.asarray(times, jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def event_axes(x: Shaped[Array, 'b ...']) -> tuple[int, ...]:
    """All axes but the first."""
    return tuple(range(1, x.ndim))


def mean_square(x: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """Mean over the event axes of the square: `[B, ...]` to `[B]`."""
    return jnp.mean(x**2, axis=event_axes(x))


def sum_square(x: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """Sum over the event axes of the square, ||x||^2: `[B, ...]` to `[B]`."""
    return jnp.sum(x**2, axis=event_axes(x))


def of_each(values: Float[Array, 'b n'], index: Int[Array, ' b']) -> Float[Array, ' b']:
    """values[i, index[i]], and 0 where the index is n or more: nothing is told there."""
    return jnp.sum(jax.nn.one_hot(index, values.shape[1], dtype=values.dtype) * values, axis=1)


def repeat_row(row: Any, n: int) -> Any:
    """A pytree of one row `[...]` as `n` equal rows `[n, ...]`."""
    return jax.tree.map(lambda a: jnp.broadcast_to(jnp.asarray(a), (n, *jnp.shape(a))), row)


def where_rows(keep: Bool[Array, ' b'], rows: Any, other: Any) -> Any:
    """Whole rows of a pytree `[B, ...]` where `keep` is True, those of another elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(per_sample(keep, a), a, b), rows, other)


def equal_rows(rows: Any, other: Any) -> Bool[Array, ' b']:
    """Which rows of two pytrees `[B, ...]` are equal in every leaf."""
    equal = jax.tree.map(lambda a, b: jnp.all(a == b, axis=event_axes(a)), rows, other)
    return functools.reduce(jnp.logical_and, jax.tree.leaves(equal))
