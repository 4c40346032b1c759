"""The kernel distance: squared maximum mean discrepancy with a cubic kernel (KID's estimator, arXiv 1801.01401).

With mu_P(x) = E k(x, x') over x' ~ P, the Hoeffding parts of k make the variance of the estimate from n samples x ~ P
and m rows y ~ Q of the reference

    4 a_x / n + 2 b_x / (n (n - 1)) + 4 c / (n m) + 4 a_y / m + 2 b_y / (m (m - 1)),

where a_x = Var[mu_P(x) - mu_Q(x)], and b_x, b_y and c are what k(x, x'), k(y, y') and k(x, y) vary beside the means of
their rows and columns. Each part has an unbiased estimate (as in arXiv 1906.02104). The first three are what fresh
samples bring; the other two are those of a fresh reference.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class KernelDistance(NamedTuple):
    """Mean over random subsets, and its standard errors: over fresh samples, and over a fresh reference as well."""

    mean: float
    standard_error: float  # over repetitions with new samples and this reference
    with_reference: float  # over repetitions with a new reference too


class _Parts(NamedTuple):
    """Of the variance, from one pair of subsets."""

    a_x: float
    b_x: float
    c: float
    a_y: float
    b_y: float


def squared_mmd(f_1: Float[np.ndarray, 'n d'], f_2: Float[np.ndarray, 'm d']) -> float:
    """The unbiased estimate of MMD^2 with the kernel (x.y / d + 1)^3, in float64; it may be below zero.

    Raises:
        ValueError: for fewer than two rows on either side.
    """
    n, m = len(f_1), len(f_2)
    if min(n, m) < 2:
        raise ValueError(f'the unbiased kernel distance needs at least 2 samples a side, got {n} and {m}')
    xx, xy, yy = _kernels(f_1, f_2)
    return float(xx.sum() / (n * (n - 1)) + yy.sum() / (m * (m - 1)) - 2 * xy.mean())


def kernel_distance(
    f_1: Float[np.ndarray, 'n d'],
    f_2: Float[np.ndarray, 'm d'],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """`squared_mmd` over `subsets` random subsets of `subset_size` rows of each side, drawn without replacement.

    The standard errors are not the spread over subsets: these share rows, and where a subset is the whole set there is
    no spread at all. They add what the draw of subsets varies to the variance of the estimate from all rows, whose
    parts every pair of subsets estimates.

    Args:
        f_1: features of the samples.
        f_2: features of the reference.
        subsets: at least 2.
        subset_size: at least 2; below 4 a variance has no unbiased estimate, and the errors are NaN.
        seed: of the draws.

    Raises:
        ValueError: if a side has fewer than `subset_size` rows, or there are fewer than two subsets.
    """
    n, m = len(f_1), len(f_2)
    if min(n, m) < subset_size or subsets < 2:
        raise ValueError(f'{subsets} subsets of {subset_size} cannot be drawn from {n} and {m} samples')
    rng = np.random.default_rng(seed)
    values, parts = [], []
    for _ in range(subsets):
        x, y = (f[rng.choice(len(f), subset_size, replace=False)] for f in (f_1, f_2))
        values.append(squared_mmd(x, y))
        parts.append(_parts(*_kernels(x, y)) if subset_size > 3 else _Parts(*[np.nan] * 5))
    a_x, b_x, c, a_y, b_y = np.maximum(np.mean(parts, axis=0), 0)
    draw = np.var(values, ddof=1) / subsets
    samples = 4 * a_x / n + 2 * b_x / (n * (n - 1)) + 4 * c / (n * m)
    reference = 4 * a_y / m + 2 * b_y / (m * (m - 1))
    errors = np.sqrt(draw + samples), np.sqrt(draw + samples + reference)
    return KernelDistance(float(np.mean(values)), *map(float, errors))


def _kernels(f_1, f_2):
    """K within each set, with zeros for a row with itself, and between them: xx, xy, yy."""
    x, y = np.asarray(f_1, np.float64), np.asarray(f_2, np.float64)
    xx, xy, yy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (x, y), (y, y)))
    np.fill_diagonal(xx, 0)
    np.fill_diagonal(yy, 0)
    return xx, xy, yy


def _parts(xx, xy, yy):
    g_x, g_y = xy.mean(axis=1), xy.mean(axis=0)
    n, m = xy.shape
    c = np.sum((xy - g_x[:, None] - g_y[None] + xy.mean()) ** 2) / ((n - 1) * (m - 1))
    (a_x, b_x), (a_y, b_y) = _within(xx, g_x), _within(yy, g_y)
    # mu_Q(x) is g_x but for the noise of m rows, whose variance is c / m.
    return _Parts(a_x - c / m, b_x, c, a_y - c / n, b_y)


def _within(k, g):
    """Var[mu(x) - g(x)] and what k varies beside it: first and second order of the U-statistic of k - g - g'.

    From means of products of two values that share two, one or no rows.
    """
    n = len(k)
    h = k - g[:, None] - g[None]
    h -= (h.sum() - np.trace(h)) / (n * (n - 1))  # large against its variation
    np.fill_diagonal(h, 0)
    squares, rows, total = np.sum(h**2), np.sum(h.sum(axis=1) ** 2), h.sum()
    two = squares / (n * (n - 1))
    one = (rows - squares) / (n * (n - 1) * (n - 2))
    none = (total**2 - 4 * rows + 2 * squares) / (n * (n - 1) * (n - 2) * (n - 3))
    return one - none, two - 2 * one + none
