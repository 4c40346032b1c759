"""The Frechet distance between Gaussians fitted to two sets of features (FID's formula, arXiv 1706.08500, eq. 6).

It is called FID only with Inception features and FID's own protocol; here a report says 'Frechet distance (pixels-64)'.
The estimate is biased upwards, by more for fewer samples and more dimensions (arXiv 1911.07023): compare equal n only.
With n <= d samples the covariance is singular; the distance is still exact for the fitted Gaussians.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Shaped

from diffusion_jax.evaluation.features import Features


class Moments(NamedTuple):
    """Mean `[d]` and unbiased covariance `[d, d]` of n samples, in float64 on the host."""

    mean: Float64[np.ndarray, ' d']
    cov: Float64[np.ndarray, 'd d']
    n: int  # 0 where a file of statistics does not say


class Running(NamedTuple):
    """What n samples leave behind: n, their mean `[d]` and scatter `[d, d]`, in float64; 33 MB for 2048 features."""

    n: int
    mean: Float64[np.ndarray, ' d']
    scatter: Float64[np.ndarray, 'd d']  # sum of (x - mean) (x - mean)^T


def running(values: Shaped[np.ndarray, 'n d']) -> Running:
    """The statistics of one batch of features."""
    values = np.asarray(values, np.float64)
    mean = values.mean(axis=0)
    return Running(len(values), mean, (values - mean).T @ (values - mean))


def merge(a: Running, b: Running) -> Running:
    """The statistics of two sets together: of batches, of hosts, or of halves of a long run.

    Chan, Golub and LeVeque's formula: no difference of large sums is taken, so a million samples keep their digits.
    """
    n = a.n + b.n
    delta = b.mean - a.mean
    scatter = a.scatter + b.scatter + np.outer(delta, delta) * (a.n * b.n / n)
    return Running(n, a.mean + delta * (b.n / n), scatter)


def without(total: Running, part: Running) -> Running:
    """The statistics of what is left of a set without a part of it: `merge` backwards."""
    n = total.n - part.n
    mean = total.mean - (part.mean - total.mean) * (part.n / n)
    delta = part.mean - mean
    return Running(n, mean, total.scatter - part.scatter - np.outer(delta, delta) * (n * part.n / total.n))


def finish(total: Running, features_name: str) -> Moments:
    """Mean and unbiased covariance.

    Raises:
        ValueError: for fewer than two samples, or features that are not finite.
    """
    if total.n < 2:
        raise ValueError(f'a covariance needs at least 2 samples, got {total.n}')
    if not np.isfinite(total.scatter).all():
        raise ValueError(f'the {features_name} features of the samples are not finite')
    return Moments(total.mean, total.scatter / (total.n - 1), total.n)


def moments(features: Features, batches: Iterable[Any]) -> Moments:
    """Moments of the features of all batches `[b, ...]` (values in [-1, 1]), one batch in memory at a time.

    Raises:
        ValueError: for no samples at all, and as `finish`.
    """
    parts = (running(np.asarray(features.apply(batch))) for batch in batches)
    first = next(parts, None)
    if first is None:
        raise ValueError('a covariance needs at least 2 samples, got 0')
    return finish(functools.reduce(merge, parts, first), features.name)


def frechet_distance(
    mean_1: Float64[np.ndarray, ' d'],
    cov_1: Float64[np.ndarray, 'd d'],
    mean_2: Float64[np.ndarray, ' d'],
    cov_2: Float64[np.ndarray, 'd d'],
) -> float:
    """||m_1 - m_2||^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)): the squared 2-Wasserstein distance of two Gaussians.

    tr (C_1 C_2)^(1/2) is the sum of the singular values of C_1^(1/2) C_2^(1/2), with symmetric square roots: real,
    and as accurate for singular covariances as for regular ones, where a general matrix square root fails.
    """
    cross = np.linalg.svd(_sqrt(cov_1) @ _sqrt(cov_2), compute_uv=False).sum()
    distance = np.sum((mean_1 - mean_2) ** 2) + np.trace(cov_1) + np.trace(cov_2) - 2 * cross
    return max(float(distance), 0.0)


def jackknife(values: Float[np.ndarray, 'n d'], reference: Moments, groups: int = 20, seed: int = 0) -> float:
    """The standard error of the Frechet distance of n rows, over fresh rows: the delete-a-group jackknife.

    Not the bootstrap: its draws repeat rows, which near the distance's minimum, 0, makes it up to 1.8 times too large.
    The jackknife counts the part of a statistic's variance that is linear in the rows once and the quadratic part
    twice (Efron and Stein, 1981): the error is right far from the minimum, and at it too large by up to sqrt(2).

    Args:
        values: features of the samples, in any order.
        reference: moments that the samples are compared with, taken as exact.
        groups: into how many random groups of rows, each left out once, at least 2; no more than n are made. The error
            itself is uncertain by 1 / sqrt(2 groups).
        seed: of the groups.

    Raises:
        ValueError: for fewer than three rows or two groups.
    """
    n = len(values)
    if n < 3 or groups < 2:
        raise ValueError(f'a jackknife needs at least 3 rows and 2 groups, got {n} and {groups}')
    root, order = _sqrt(reference.cov), np.random.default_rng(seed).permutation(n)
    parts = [running(values[np.sort(rows)]) for rows in np.array_split(order, min(groups, n))]
    total, distances = functools.reduce(merge, parts), []
    for part in parts:
        rest = without(total, part)
        cov, delta = rest.scatter / (rest.n - 1), rest.mean - reference.mean
        # The square roots of the eigenvalues of C_2^(1/2) C_1 C_2^(1/2); without vectors, a third of the time.
        roots = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov @ root), 0.0))
        distances.append(delta @ delta + np.trace(cov) + np.trace(reference.cov) - 2 * roots.sum())
    return float(np.sqrt((len(parts) - 1) * np.var(distances)))


def _sqrt(cov: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(cov)
    # Rounding noise in a null space is 1e-16 before the root and 1e-8 after it.
    noise = len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    roots = np.sqrt(np.where(values > noise, values, 0.0))
    return (vectors * roots[None]) @ vectors.T
