"""Distances to the nearest training sample: did a model learn the distribution, or its training set by heart?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.evaluation.frechet import Moments, frechet_distance
from diffusion_jax.evaluation.rows import Values


class Neighbours(NamedTuple):
    """For each sample, the Euclidean distance to its nearest row of a set, and that row's index."""

    distance: Float[np.ndarray, ' n']
    index: np.ndarray  # [n] int


class Memorisation(NamedTuple):
    """Median nearest-neighbour distances to the training set; a ratio near 1 generalises, near 0 copies."""

    ratio: float  # sample_distance / held_out_distance
    sample_distance: float
    held_out_distance: float


def nearest_neighbours(
    samples: Float[Array | np.ndarray, 'n ...'], train: np.ndarray | Values, chunk: int = 2048
) -> Neighbours:
    """The nearest training row of each sample in L2 over all values, `chunk` training rows in memory at a time.

    Raises:
        ValueError: for an empty training set.
    """
    if len(train) == 0:
        raise ValueError('there is no nearest neighbour in an empty training set')
    flat = _flat(np.asarray(samples))
    # Closer to the origin the products below lose fewer digits.
    centre = _flat(train[:chunk]).mean(axis=0)
    query = jnp.asarray(flat - centre)
    best, index = np.full(len(flat), np.inf, np.float32), np.zeros(len(flat), np.int64)
    for first in range(0, len(train), chunk):
        squared, place = map(np.asarray, _nearest(query, jnp.asarray(_flat(train[first : first + chunk]) - centre)))
        closer = squared < best
        best, index = np.where(closer, squared, best), np.where(closer, first + place, index)
    # |a|^2 - 2 a.b + |b|^2 finds the row but cannot measure a distance near zero, the very one that shows a copy.
    return Neighbours(np.linalg.norm(flat - _flat(train[index]), axis=1), index)


def _flat(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float32).reshape(len(x), -1)


def memorisation(samples: Float[np.ndarray, ' n'], held_out: Float[np.ndarray, ' m']) -> Memorisation:
    """How much closer samples lie to the training set than held-out data do.

    Both are distances of `nearest_neighbours` in one training set, so the sizes of the sets do not matter to the ratio.
    """
    near_samples, near_held_out = float(np.median(samples)), float(np.median(held_out))
    return Memorisation(near_samples / near_held_out if near_held_out else np.nan, near_samples, near_held_out)


def frechet_gap(samples: Moments, train: Moments, held_out: Moments) -> float:
    """How much further the samples lie from held-out than from training data, as a Frechet distance.

    Zero on average if the model took no more from its training set than the distribution; above zero if it copies.

    Args:
        samples: moments of any number of samples.
        train: of as many training rows as `held_out` has: the distance's bias must be that of the other.
        held_out: of rows that the model has not seen.

    Raises:
        ValueError: for sets of different sizes.
    """
    if train.n != held_out.n:
        raise ValueError(f'the gap needs training and held-out sets of one size, got {train.n} and {held_out.n}')
    to_held_out = frechet_distance(samples.mean, samples.cov, held_out.mean, held_out.cov)
    return to_held_out - frechet_distance(samples.mean, samples.cov, train.mean, train.cov)


@jax.jit
def _nearest(query: Array, rows: Array) -> tuple[Array, Array]:
    products = jnp.matmul(query, rows.T, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.sum(query**2, axis=1)[:, None] - 2 * products + jnp.sum(rows**2, axis=1)[None]
    return jnp.min(squared, axis=1), jnp.argmin(squared, axis=1)
