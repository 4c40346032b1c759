"""Precision, recall, density and coverage by hand, by scikit-learn's neighbours and by torch-fidelity."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from diffusion_jax.evaluation import manifold as m
from tests import fidelity

RNG = np.random.default_rng(0)
Y, X = RNG.normal(size=(120, 4)) * 0.8 + 0.3, RNG.normal(size=(90, 4))


def test_on_a_line_by_hand():
    """Data 0, 1, 3, 7 with balls to the nearest of radius 1, 1, 2, 4; samples 2, 10, 20 of radius 8, 8, 10."""
    got = m.manifold(np.array([[2.0], [10], [20]]), np.array([[0.0], [1], [3], [7]]), 1, 1)
    # 2 lies in the balls of 1 and 3, 10 in that of 7, 20 in none; 0, 1, 3, 7 lie in the ball of 2; 0's ball is empty.
    assert got == pytest.approx((2 / 3, 1, (2 + 1 + 0) / 3, 3 / 4))


def test_against_scikit_learn():
    def radii(x, k):
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, k]

    d = cdist(Y, X)
    want = (
        (d <= radii(X, 3)[None]).any(1).mean(),
        (d <= radii(Y, 3)[:, None]).any(0).mean(),
        (d <= radii(X, 5)[None]).sum(1).mean() / 5,
        (d.min(0) <= radii(X, 5)).mean(),
    )
    assert 0.1 < min(want) < max(want[:2]) < 0.98  # none of them trivial
    np.testing.assert_allclose(m.manifold(Y, X), want, rtol=1e-12)


def test_blocks_do_not_matter(monkeypatch):
    want = m.manifold(Y, X)
    monkeypatch.setattr(m, '_BLOCK', 37)
    np.testing.assert_allclose(m.manifold(Y, X), want, rtol=1e-12)


def test_far_from_the_origin():
    np.testing.assert_allclose(m.manifold(Y + 1e4, X + 1e4), m.manifold(Y, X), rtol=1e-12)


def test_precision_and_recall_are_torch_fidelitys():
    prc = fidelity.module('metric_prc')
    torch = pytest.importorskip('torch')
    theirs = prc.calculate_precision_recall_full(torch.tensor(Y), torch.tensor(X), neighborhood=3)
    np.testing.assert_allclose(m.manifold(Y, X)[:2], theirs, rtol=1e-6)


def test_one_distribution_has_the_expected_coverage():
    """Of n samples of either kind: density 1, coverage 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)) (arXiv 2002.09797)."""
    n, k = 200, 5
    runs = [m.manifold(*np.random.default_rng(s).normal(size=(2, n, 3)), k, k) for s in range(20)]
    want = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    for values, mean in zip(zip(*runs, strict=True), (None, None, 1.0, want), strict=True):
        if mean is not None:
            assert abs(np.mean(values) - mean) < 4 * np.std(values) / np.sqrt(len(values))


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match=r'5 samples and 90 data points have 1\.\.4 neighbours, not 3 and 5'):
        m.manifold(Y[:5], X)
    with pytest.raises(ValueError, match='not 0 and 5'):
        m.manifold(Y, X, 0)
