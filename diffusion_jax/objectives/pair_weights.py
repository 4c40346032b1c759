"""Weights w(t, s) of a consistency loss at a pair of times t > s."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

__all__ = ['inverse_gap', 'uniform']

PairWeight = Callable[[Array, Array], Array]  # (t [B], s [B]) -> w [B]


def uniform() -> PairWeight:
    """CD's and CT's lambda = 1 (arXiv 2303.01469, section 4)."""
    return lambda t, s: jnp.ones_like(t)


def inverse_gap() -> PairWeight:
    """ICT's and ECT's 1 / (t - s) (arXiv 2310.14189)."""
    return lambda t, s: 1 / (t - s)
