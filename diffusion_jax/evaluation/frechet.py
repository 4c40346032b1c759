"""The Frechet distance between Gaussians fitted to two sets of features (FID's formula, arXiv 1706.08500, eq. 6).

It is called FID only with Inception features and FID's own protocol; here a report says 'Frechet distance (pixels-64)'.
The estimate is biased upwards, by more for fewer samples and more dimensions (arXiv 1911.07023): compare equal n only.
With n <= d samples the covariance is singular; the distance is still exact for the fitted Gaussians.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from diffusion_jax.evaluation.features import Features


class Moments(NamedTuple):
    """Mean `[d]` and unbiased covariance `[d, d]` of n samples, in float64 on the host."""

    mean: Float64[np.ndarray, ' d']
    cov: Float64[np.ndarray, 'd d']
    n: int


def moments(features: Features, batches: Iterable[Any]) -> Moments:
    """Moments of the features of all batches `[b, ...]` (values in [-1, 1]), one batch in memory at a time.

    Raises:
        ValueError: for fewer than two samples, or features that are not finite.
    """
    n, mean, scatter = 0, np.zeros(1), np.zeros((1, 1))
    for batch in batches:
        values = np.asarray(features.apply(batch), np.float64)
        m, batch_mean = len(values), values.mean(axis=0)
        centred = values - batch_mean
        # Chan, Golub and LeVeque's merge: no difference of large sums is ever taken.
        delta = batch_mean - mean
        scatter = scatter + centred.T @ centred + np.outer(delta, delta) * (n * m / (n + m))
        mean = mean + delta * (m / (n + m))
        n += m
    if n < 2:
        raise ValueError(f'a covariance needs at least 2 samples, got {n}')
    if not np.isfinite(scatter).all():
        raise ValueError(f'the {features.name} features of the samples are not finite')
    return Moments(mean, scatter / (n - 1), n)


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


def _sqrt(cov: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(cov)
    # Rounding noise in a null space is 1e-16 before the root and 1e-8 after it.
    noise = len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    roots = np.sqrt(np.where(values > noise, values, 0.0))
    return (vectors * roots[None]) @ vectors.T
