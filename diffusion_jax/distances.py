"""Distances d(a, b) per sample, by which a consistency loss compares f(x_t, t) with f(x_s, s)."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ['l1', 'l2', 'pseudo_huber']

Distance = Callable[[Array, Array], Array]  # (a [B, ...], b [B, ...]) -> d [B]


def l1() -> Distance:
    """Mean absolute difference."""
    return lambda a, b: jnp.mean(jnp.abs(a - b), axis=_event(a))


def l2() -> Distance:
    """Mean squared difference."""
    return lambda a, b: jnp.mean((a - b) ** 2, axis=_event(a))


def pseudo_huber(c: float = 0.00054) -> Distance:
    """ICT's sqrt(||a - b||^2 + c_d^2) - c_d with c_d = c sqrt(d) in d dimensions (arXiv 2310.14189, section 3.3).

    A norm, not a mean: sqrt(d) times the same of the mean square.
    """

    def distance(a: Float[Array, 'b ...'], b: Float[Array, 'b ...']) -> Float[Array, ' b']:
        c_d = c * np.sqrt(np.prod(a.shape[1:])).item()
        square = jnp.sum((a - b) ** 2, axis=_event(a))
        # sqrt(square + c_d^2) - c_d, without the difference of two almost equal numbers
        return square / (jnp.sqrt(square + c_d**2) + c_d)

    return distance


def _event(x):
    return tuple(range(1, x.ndim))
