"""The rate of copies: planted shares come back within the error that is stated, and honest samples have none."""

import numpy as np
import pytest

from diffusion_jax.evaluation import generalization
from diffusion_jax.evaluation.generalization import copy_rate, nearest_neighbours

D, TRAIN = 16, 400
PLANTED = [(0.0, 0.0), (0.05, 0.0), (0.3, 0.0), (0.3, 0.02), (1.0, 0.0), (1.0, 0.02)]


def data(rng, n):
    """A mixture, so that distances differ between rows: in the narrow component they are a third."""
    return (rng.normal(size=(n, D)) * np.where(rng.random((n, 1)) < 0.3, 0.3, 1.0)).astype(np.float32)


def distances(rng, n, m, share, noise):
    """From samples, a share of which are noised copies, and from held-out rows to a training set of its own."""
    train, samples, held_out = data(rng, TRAIN), data(rng, n), data(rng, m)
    copies = np.arange(n) < round(share * n)
    near = train[rng.integers(0, TRAIN, n)] + noise * rng.normal(size=(n, D)).astype(np.float32)
    samples = np.where(copies[:, None], near, samples)
    return (nearest_neighbours(x, train).distance for x in (samples, held_out))


@pytest.mark.parametrize(('n', 'm'), [(200, 200), (1000, 300)])
@pytest.mark.parametrize(('share', 'noise'), PLANTED)
def test_planted_copies_are_counted_within_the_error(share, noise, n, m):
    rng = np.random.default_rng([n, int(100 * share)])
    found = [copy_rate(*distances(rng, n, m, share, noise)) for _ in range(40)]
    rates, errors = np.array([f.rate for f in found]), np.array([f.standard_error for f in found])
    assert abs(rates.mean() - share) < 4 * np.sqrt(np.mean(errors**2) / 40), rates.mean()
    assert np.mean(np.abs(rates - share) < 2 * errors) >= 0.85
    assert (errors > 0).all()
    assert errors.max() < 0.06


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_the_error_is_the_spread_over_repetitions(share):
    """Of distances alone: those of copies are 0, those of honest samples and held-out rows any continuous variable."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        samples, held_out = rng.exponential(size=300), rng.exponential(size=250)
        found.append(copy_rate(np.where(rng.random(300) < share, 0.0, samples), held_out))
    rates = np.array([f.rate for f in found])
    np.testing.assert_allclose(rates.mean(), share, atol=4 * rates.std() / np.sqrt(2000))
    ratio = np.sqrt(np.mean([f.standard_error**2 for f in found])) / rates.std(ddof=1)
    assert 0.9 < ratio < 1.25  # above 1 where few samples count, by the 2 that are added to them


def test_the_ratio_of_medians_is_blind_where_the_rate_is_not():
    train, samples, held_out = np.random.default_rng(0).normal(size=(3, 1000, D)).astype(np.float32)
    samples[:300] = train[:300]
    samples, held_out = (nearest_neighbours(x, train).distance for x in (samples, held_out))
    assert generalization.memorisation(samples, held_out).ratio > 0.85
    found = copy_rate(samples, held_out)
    assert abs(found.rate - 0.3) < 3 * found.standard_error < 0.06


def test_training_rows_that_are_in_the_held_out_set_are_no_copies():
    """A data set with duplicates: a third of the held-out rows lie on training rows, as do a third of the samples."""
    rng = np.random.default_rng(1)
    samples, held_out = (np.where(rng.random(900) < 1 / 3, 0, rng.exponential(size=900)) for _ in range(2))
    found = copy_rate(samples, held_out)
    assert found.threshold == 0
    assert abs(found.rate) < 3 * found.standard_error
    assert found.standard_error < 0.06


def test_few_held_out_rows_and_none():
    found = copy_rate(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 5.0, 6.0]))
    assert found.threshold == 0.5
    np.testing.assert_allclose(found.rate, (1 / 4 - 1 / 4) / (3 / 4))
    for samples, held_out in ((np.zeros(0), np.ones(3)), (np.ones(3), np.zeros(0))):
        with pytest.raises(ValueError, match='needs samples and held-out rows'):
            copy_rate(samples, held_out)
    with pytest.raises(ValueError, match=r'quantile must be in \(0, 1\); got 1.0'):
        copy_rate(np.ones(3), np.ones(3), 1.0)
