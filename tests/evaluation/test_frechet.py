"""Statistics that stream and merge, and the standard error of a Frechet distance."""

import functools

import numpy as np
import pytest

from diffusion_jax.evaluation import frechet
from tests import fidelity

RNG = np.random.default_rng(0)


def gaussian(n, d, seed, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ np.diag(np.linspace(0.5, scale, d)) + shift


def test_merging_in_any_tree_is_numpys_covariance():
    """Unequal parts far from the origin, as a tree of hosts merges them."""
    x = RNG.normal(size=(1000, 5)) + 1e6
    parts = [frechet.running(part) for part in np.split(x, [1, 300, 310, 777])]
    in_order = functools.reduce(frechet.merge, parts)
    a, b, c, d, e = parts
    as_tree = frechet.merge(frechet.merge(e, c), frechet.merge(frechet.merge(b, d), a))
    for total in (in_order, as_tree):
        got = frechet.finish(total, 'x')
        assert got.n == 1000
        np.testing.assert_allclose(got.mean, x.mean(0), rtol=1e-14)
        np.testing.assert_allclose(got.cov, np.cov(x - 1e6, rowvar=False), rtol=1e-9, atol=1e-10)


def test_float32_features_are_summed_in_float64():
    x = (RNG.normal(size=(4096, 3)) * 1e-2 + 100).astype(np.float32)
    got = frechet.finish(frechet.running(x), 'x')
    np.testing.assert_allclose(got.cov, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-10, atol=1e-14)


def test_distance_is_torch_fidelitys():
    fid = fidelity.module('metric_fid')
    torch = pytest.importorskip('torch')
    x, y = gaussian(300, 16, 1), gaussian(200, 16, 2, 2.0, 0.3)
    theirs = fid.fid_statistics_to_metric(*(fid.fid_features_to_statistics(torch.tensor(v)) for v in (x, y)), False)
    a, b = (frechet.finish(frechet.running(v), 'x') for v in (x, y))
    ours = frechet.frechet_distance(a.mean, a.cov, b.mean, b.cov)
    np.testing.assert_allclose(ours, theirs['frechet_inception_distance'], rtol=1e-6)


# dimensions, rows, largest scale and shift: far from the reference, near it, at it, and with a singular covariance
PLACES = [(4, 400, 1.5, 0.2), (4, 30, 1.5, 0.2), (8, 60, 1.0, 0.0), (16, 200, 1.0, 0.0), (16, 12, 1.2, 0.5)]


@pytest.mark.parametrize('place', PLACES, ids=str)
def test_jackknife_covers_the_spread_over_fresh_samples(place):
    """As the linear part of the variance counts once and the quadratic one twice: from 1 to sqrt(2) times the truth."""
    d, n, scale, shift = place
    reference = frechet.Moments(np.zeros(d), np.diag(np.linspace(0.5, 1.0, d) ** 2), n)
    sets = [gaussian(n, d, seed, scale, shift) for seed in range(300)]
    fitted = [frechet.finish(frechet.running(x), 'x') for x in sets]
    truth = np.std([frechet.frechet_distance(m.mean, m.cov, reference.mean, reference.cov) for m in fitted], ddof=1)
    error = np.sqrt(np.mean([frechet.jackknife(x, reference) ** 2 for x in sets[:60]]))
    assert 0.87 < error / truth < 1.55  # twice 4 % for 300 sets, and 3 % for 60 errors


def test_jackknife_is_its_definition():
    """Every row left out once: the distances of what is left, recomputed."""
    x = gaussian(9, 3, 0)
    reference = frechet.Moments(np.ones(3), np.diag([1.0, 2.0, 0.0]), 50)

    def distance(rows):
        m = frechet.finish(frechet.running(rows), 'x')
        return frechet.frechet_distance(m.mean, m.cov, reference.mean, reference.cov)

    left = [distance(np.delete(x, i, axis=0)) for i in range(9)]
    want = np.sqrt(8 / 9 * np.sum((left - np.mean(left)) ** 2))
    np.testing.assert_allclose(frechet.jackknife(x, reference), want, rtol=1e-7)


def test_without_is_merge_backwards():
    a, b = (frechet.running(gaussian(n, 4, n, shift=1e3)) for n in (30, 7))
    for got, want in zip(frechet.without(frechet.merge(a, b), b), a, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(('n', 'groups'), [(2, 20), (20, 1)])
def test_jackknife_of_too_little_is_refused(n, groups):
    reference = frechet.Moments(np.zeros(2), np.eye(2), 5)
    with pytest.raises(ValueError, match=f'at least 3 rows and 2 groups, got {n} and {groups}'):
        frechet.jackknife(np.zeros((n, 2)), reference, groups)


def test_no_batch_at_all_is_refused():
    from diffusion_jax.evaluation import features

    with pytest.raises(ValueError, match='at least 2 samples, got 0'):
        frechet.moments(features.pixels((2, 2, 1)), [])
