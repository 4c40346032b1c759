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
    n: int


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


def bootstrap(
    values: Float[np.ndarray, 'n d'], reference: Moments, resamples: int = 20, seed: int = 0
) -> Float64[np.ndarray, ' resamples']:
    """Frechet distances of `resamples` draws of n rows with replacement: their standard deviation is a standard error.

    Only that. Their mean lies above the distance of the rows themselves, for a draw has fewer different rows.

    Args:
        values: features of the samples.
        reference: moments that the samples are compared with, taken as exact.
        resamples: at least 2.
        seed: of the draws.

    Raises:
        ValueError: for fewer than two rows or resamples.
    """
    n = len(values)
    if min(n, resamples) < 2:
        raise ValueError(f'a bootstrap needs at least 2 rows and 2 resamples, got {n} and {resamples}')
    rng, values = np.random.default_rng(seed), np.asarray(values, np.float64)
    root, distances = _sqrt(reference.cov), []
    for _ in range(resamples):
        times = rng.multinomial(n, np.full(n, 1 / n))[:, None]  # how often each row is drawn
        mean = (times * values).sum(axis=0) / n
        centred = values - mean
        cov = (times * centred).T @ centred / (n - 1)
        # The square roots of the eigenvalues of C_2^(1/2) C_1 C_2^(1/2); without vectors, a third of the time.
        eigenvalues = np.linalg.eigvalsh(root @ cov @ root)
        roots = np.sqrt(np.maximum(eigenvalues, 0.0))
        delta = mean - reference.mean
        distances.append(delta @ delta + np.trace(cov) + np.trace(reference.cov) - 2 * roots.sum())
    return np.array(distances)


def _sqrt(cov: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(cov)
    # Rounding noise in a null space is 1e-16 before the root and 1e-8 after it.
    noise = len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    roots = np.sqrt(np.where(values > noise, values, 0.0))
    return (vectors * roots[None]) @ vectors.T
