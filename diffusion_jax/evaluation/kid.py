"""The kernel distance: squared maximum mean discrepancy with a cubic kernel (KID's estimator, arXiv 1801.01401)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class KernelDistance(NamedTuple):
    """Mean over random subsets and its standard error, std / sqrt(subsets).

    Subsets overlap, so the error is a lower bound.
    """

    mean: float
    standard_error: float


def squared_mmd(f_1: Float[np.ndarray, 'n d'], f_2: Float[np.ndarray, 'm d']) -> float:
    """The unbiased estimate of MMD^2 with the kernel (x.y / d + 1)^3, in float64; it may be below zero.

    Raises:
        ValueError: for fewer than two rows on either side.
    """
    n, m, d = len(f_1), len(f_2), f_1.shape[1]
    if min(n, m) < 2:
        raise ValueError(f'the unbiased kernel distance needs at least 2 samples a side, got {n} and {m}')
    f_1, f_2 = np.asarray(f_1, np.float64), np.asarray(f_2, np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / d + 1) ** 3

    def mean_off_diagonal(f: np.ndarray) -> float:
        gram = kernel(f, f)
        return (gram.sum() - np.trace(gram)) / (len(f) * (len(f) - 1))

    return float(mean_off_diagonal(f_1) + mean_off_diagonal(f_2) - 2 * kernel(f_1, f_2).mean())


def kernel_distance(
    f_1: Float[np.ndarray, 'n d'],
    f_2: Float[np.ndarray, 'm d'],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """`squared_mmd` over `subsets` random subsets of `subset_size` rows of each side, drawn without replacement.

    Raises:
        ValueError: if a side has fewer than `subset_size` rows, or there are fewer than two subsets.
    """
    if min(len(f_1), len(f_2)) < subset_size or subsets < 2:
        raise ValueError(f'{subsets} subsets of {subset_size} cannot be drawn from {len(f_1)} and {len(f_2)} samples')
    rng = np.random.default_rng(seed)
    values = [
        squared_mmd(
            f_1[rng.choice(len(f_1), subset_size, replace=False)], f_2[rng.choice(len(f_2), subset_size, replace=False)]
        )
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(subsets)))
