"""Statistics that stream and merge, and the bootstrap of a Frechet distance."""

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


def test_bootstrap_finds_the_standard_error():
    """Of the distance of fresh samples to a known Gaussian, measured over 200 sets."""
    d, n = 4, 400
    reference = frechet.Moments(np.zeros(d), np.eye(d), n)

    def distance(seed):
        m = frechet.finish(frechet.running(gaussian(n, d, seed, 1.5, 0.2)), 'x')
        return frechet.frechet_distance(m.mean, m.cov, reference.mean, reference.cov)

    truth = np.std([distance(seed) for seed in range(200)], ddof=1)
    errors = [frechet.bootstrap(gaussian(n, d, s, 1.5, 0.2), reference, 100).std(ddof=1) for s in range(10)]
    np.testing.assert_allclose(np.mean(errors), truth, rtol=0.15)


def test_a_resample_is_the_distance_of_the_rows_it_drew(monkeypatch):
    x = gaussian(50, 3, 0)
    reference = frechet.Moments(np.ones(3), np.diag([1.0, 2.0, 0.0]), 50)
    times = np.random.default_rng(7).multinomial(50, np.full(50, 0.02))
    m = frechet.finish(frechet.running(np.repeat(x, times, axis=0)), 'x')
    want = frechet.frechet_distance(m.mean, m.cov, reference.mean, reference.cov)
    np.testing.assert_allclose(frechet.bootstrap(x, reference, 2, seed=7)[0], want, rtol=1e-7)


@pytest.mark.parametrize(('n', 'resamples'), [(1, 20), (20, 1)])
def test_bootstrap_of_too_little_is_refused(n, resamples):
    reference = frechet.Moments(np.zeros(2), np.eye(2), 5)
    with pytest.raises(ValueError, match=f'at least 2 rows and 2 resamples, got {n} and {resamples}'):
        frechet.bootstrap(np.zeros((n, 2)), reference, resamples)


def test_no_batch_at_all_is_refused():
    from diffusion_jax.evaluation import features

    with pytest.raises(ValueError, match='at least 2 samples, got 0'):
        frechet.moments(features.pixels((2, 2, 1)), [])
