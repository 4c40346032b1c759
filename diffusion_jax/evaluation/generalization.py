"""Distances to the nearest training sample: did a model learn the distribution, or its training set by heart?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.evaluation.frechet import Moments, frechet_distance
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.ranges import within


class Neighbours(NamedTuple):
    """For each sample, the Euclidean distance to its nearest row of a set, and that row's index."""

    distance: Float[np.ndarray, ' n']
    index: np.ndarray  # [n] int


class Memorisation(NamedTuple):
    """Median nearest-neighbour distances to the training set.

    Their ratio says how close a typical sample lies: below 1 of blur as of copies. It is blind to copies among less
    than half of the samples, which `copy_rate` counts.
    """

    ratio: float  # sample_distance / held_out_distance
    sample_distance: float
    held_out_distance: float


class CopyRate(NamedTuple):
    """The share of samples that are copies of training rows."""

    rate: float  # 0 on average of honest samples, and so below 0 for some
    standard_error: float
    threshold: float  # a distance to the training set that honest samples seldom fall below


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


def copy_rate(samples: Float[np.ndarray, ' n'], held_out: Float[np.ndarray, ' m'], quantile: float = 0.01) -> CopyRate:
    """The share of samples that lie closer to the training set than honest samples do.

    A sample counts if its distance is at most tau, the given quantile of the held-out distances. Of honest samples a
    share p_0 does so too, which is k / (m + 1) on average if tau is the k-th of m distances. So the share that counts
    is f = c + (1 - c) p_0, and the rate c = (f - p_0) / (1 - p_0).

    Copies with noise count up to a distance of tau. So do samples that are closer for another reason, as blurred ones
    may be, while mirrored or shifted copies do not: the figure is of this distance. The error has the noise of both
    shares, of f that of (count + 2) / (n + 4) (Agresti and Coull, 1998): it isn't 0 where all samples are copies.

    Args:
        samples: distances of `nearest_neighbours` from the samples to the training set.
        held_out: the same of data that the model has not seen.
        quantile: in (0, 1), the share of honest samples to count. With fewer held-out rows than its inverse it is
            their least distance.

    Raises:
        ValueError: for no samples, no held-out rows, or another quantile.
    """
    within('(0, 1)', quantile=quantile)
    n, m = len(samples), len(held_out)
    if not n or not m:
        raise ValueError(f'a rate of copies needs samples and held-out rows; got {n} and {m}')
    threshold = np.sort(held_out)[max(int(quantile * (m + 1)), 1) - 1]
    count, p_0 = np.sum(samples <= threshold), np.sum(held_out <= threshold) / (m + 1)
    f, likely = count / n, (count + 2) / (n + 4)
    of_f = likely * (1 - likely) / (n + 4) / (1 - p_0) ** 2
    of_p_0 = p_0 * (1 - p_0) / (m + 2) * ((1 - f) / (1 - p_0) ** 2) ** 2
    return CopyRate(float((f - p_0) / (1 - p_0)), float(np.sqrt(of_f + of_p_0)), float(threshold))


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
