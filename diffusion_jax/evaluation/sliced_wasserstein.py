"""Sliced Wasserstein distance between two sets of points."""

import jax
import numpy as np
from jaxtyping import Float

from diffusion_jax.types import Key


def sliced_wasserstein(
    x: Float[np.ndarray, 'n ...'], y: Float[np.ndarray, 'm ...'], key: Key, projections: int = 200
) -> float:
    """The mean over random directions of the 1-Wasserstein distance of the projections, E_u W_1(u.x, u.y).

    Along a line the optimal transport pairs the sorted values. The sets are of equal size, m = n. The value of two
    independent sets of the same distribution falls as 1 / sqrt(n): quote it as the floor.

    Raises:
        ValueError: for sets of different sizes.
    """
    if len(x) != len(y):
        raise ValueError(f'the sets must be of equal size; got {len(x)} and {len(y)}')
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (x, y))
    u = np.asarray(jax.random.normal(key, (a.shape[1], projections)), np.float64)
    u /= np.linalg.norm(u, axis=0)
    return float(np.abs(np.sort(a @ u, axis=0) - np.sort(b @ u, axis=0)).mean())
