"""How far samples lie from each other: pairs from the same noise (coherence), and a set within itself (diversity).

DDIM's samples keep their content when the number of steps changes, DDPM's do not (arXiv 2010.02502, section 5.2, which
shows it in pictures). The figures here are ratios of mean distances, so that no scale of the data enters them.
"""

import numpy as np
from jaxtyping import Float


def paired_distance(x: Float[np.ndarray, 'n ...'], y: Float[np.ndarray, 'm ...']) -> float:
    """The mean distance |x_i - y_i| of pairs over the mean distance |x_i - y_j|, i != j, of what is no pair.

    0 if pairs are equal, 1 in expectation if they are unrelated. For standard normal pairs with correlation rho it is
    sqrt(1 - rho).

    Raises:
        ValueError: for sets of different shapes, fewer than two pairs, or sets of one and the same point.
    """
    if x.shape != y.shape:
        raise ValueError(f'pairs need sets of one shape; got {x.shape} and {y.shape}')
    distance = _distances(x, y)
    unpaired = _mean_off_diagonal(distance)
    if unpaired == 0:
        raise ValueError('the samples are all the same: pairs of them cannot be told from others')
    return float(np.trace(distance) / len(x) / unpaired)


def diversity(x: Float[np.ndarray, 'n ...'], data: Float[np.ndarray, 'm ...']) -> float:
    """The mean distance between two samples over that between two rows of the data.

    0 if all samples are the same, 1 in expectation for a sample of the data; blur lowers it and noise raises it, so it
    stands beside a measure of quality, not in its place.

    Raises:
        ValueError: for fewer than two rows on either side, or data of one and the same point.
    """
    of_data = _mean_off_diagonal(_distances(data, data))
    if of_data == 0:
        raise ValueError('the rows of the data are all the same: they have no diversity to compare with')
    return float(_mean_off_diagonal(_distances(x, x)) / of_data)


def _distances(x, y):
    """Euclidean distances `[n, m]`, row by row: |a|^2 - 2 a.b + |b|^2 would not be zero for equal rows."""
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (x, y))
    return np.stack([np.linalg.norm(row - b, axis=1) for row in a])


def _mean_off_diagonal(distance):
    n = len(distance)
    if n < 2:
        raise ValueError(f'distances between samples need at least 2 of them, got {n}')
    return (distance.sum() - np.trace(distance)) / (n * (n - 1))
