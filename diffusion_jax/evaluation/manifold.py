"""Precision and recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797), of k-nearest-neighbour balls.

Around every point of a set lies a ball that reaches to its k-th nearest other point; the union of the balls stands for
the support of the distribution. All four depend on n, m, k and the features: compare under one protocol only.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BLOCK = 1024  # rows of the distance matrix at a time


class Manifold(NamedTuple):
    """Fidelity (precision, density) and diversity (recall, coverage) of samples Y against data X."""

    precision: float  # share of Y inside a ball of X
    recall: float  # share of X inside a ball of Y
    density: float  # how many balls of X a point of Y lies in, over k; may exceed 1
    coverage: float  # share of the balls of X that hold a point of Y


def manifold(
    samples: Float[np.ndarray, 'n d'], data: Float[np.ndarray, 'm d'], k: int = 3, k_density: int = 5
) -> Manifold:
    """The four metrics, with a block of the distance matrix in memory at a time.

    Balls are closed, as in eq. 1 of precision and recall; density's own code has them open, which differs in ties only.

    Args:
        samples: features of generated samples, Y.
        data: features of real ones, X.
        k: of precision and recall; the paper takes 3.
        k_density: of density and coverage; the paper takes 5.

    Raises:
        ValueError: if a set has no k-th nearest other point.
    """
    most = min(len(samples), len(data)) - 1
    if not 1 <= k <= most or not 1 <= k_density <= most:
        raise ValueError(
            f'{len(samples)} samples and {len(data)} data points have 1..{most} neighbours, not {k} and {k_density}'
        )
    # Closer to the origin the products of `_squared` lose fewer digits.
    centre = np.asarray(data, np.float64).mean(axis=0)
    y, x = (jnp.asarray(np.asarray(v, np.float64) - centre, jnp.float32) for v in (samples, data))
    of_x, of_y = _radii(x, (k, k_density)), _radii(y, (k,))
    balls, dense, in_y = np.zeros(len(y), np.int64), np.zeros(len(y), np.int64), np.zeros(len(x), bool)
    nearest = np.full(len(x), np.inf, np.float32)  # point of Y to each of X
    for first in range(0, len(y), _BLOCK):
        rows = slice(first, first + _BLOCK)
        inside, closer, held, least = map(np.asarray, _compare(y[rows], x, of_x[0], of_x[1], of_y[0][rows]))
        balls[rows], dense[rows] = inside, closer
        in_y, nearest = in_y | held, np.minimum(nearest, least)
    return Manifold(
        precision=float((balls > 0).mean()),
        recall=float(in_y.mean()),
        density=float(dense.mean() / k_density),
        coverage=float((nearest <= np.asarray(of_x[1])).mean()),
    )


def _radii(x: Array, ks: tuple[int, ...]) -> list[Array]:
    """Squared distance from each row to its k-th nearest other row, for every k."""
    parts = [_kth(x[i : i + _BLOCK], x, i, ks) for i in range(0, len(x), _BLOCK)]
    return [jnp.concatenate(radii) for radii in zip(*parts, strict=True)]


@jax.jit(static_argnums=3)
def _kth(rows: Array, x: Array, first: Array, ks: tuple[int, ...]) -> list[Array]:
    # A point is no neighbour of itself: by its place, for rounding may leave a copy closer.
    itself = (first + jnp.arange(len(rows)))[:, None] == jnp.arange(len(x))[None]
    least = -jax.lax.top_k(-jnp.where(itself, jnp.inf, _squared(rows, x)), max(ks))[0]
    return [least[:, k - 1] for k in ks]


@jax.jit
def _compare(y: Array, x: Array, of_x: Array, of_x_density: Array, of_y: Array) -> tuple[Array, ...]:
    squared = _squared(y, x)
    return (
        jnp.sum(squared <= of_x[None], axis=1),
        jnp.sum(squared <= of_x_density[None], axis=1),
        jnp.any(squared <= of_y[:, None], axis=0),
        jnp.min(squared, axis=0),
    )


def _squared(a: Array, b: Array) -> Array:
    products = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(a**2, axis=1)[:, None] - 2 * products + jnp.sum(b**2, axis=1)[None]
