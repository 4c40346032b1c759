"""Scores of rows by scikit-learn, in pixels."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

Baseline = Callable[[Float[np.ndarray, 'n ...']], Float[np.ndarray, ' n']]  # the higher, the stranger

PCA, FOREST, NEIGHBOURS = 'PCA reconstruction, 90 % of variance', 'isolation forest', '5 nearest neighbours, pixels'


def fitted(train: Float[np.ndarray, 'm ...'], seed: int) -> Mapping[str, Baseline]:
    """Each method by its name, fitted to training rows `[m, ...]`.

    PCA's mean square error with as many components as hold 90 % of the variance; an isolation forest of 100 trees; the
    mean distance to the 5 nearest training rows.

    Args:
        train: normal rows.
        seed: of the forest.
    """
    from sklearn.decomposition import PCA as Components
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import NearestNeighbors

    rows = _flat(train)
    pca = Components(0.9, svd_solver='full').fit(rows)
    forest = IsolationForest(random_state=seed).fit(rows)
    neighbours = NearestNeighbors(n_neighbors=min(5, len(rows))).fit(rows)

    def reconstruction(x):
        return ((pca.inverse_transform(pca.transform(_flat(x))) - _flat(x)) ** 2).mean(1)

    return {
        PCA: reconstruction,
        FOREST: lambda x: -forest.score_samples(_flat(x)),
        NEIGHBOURS: lambda x: neighbours.kneighbors(_flat(x))[0].mean(1),
    }


def _flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)
