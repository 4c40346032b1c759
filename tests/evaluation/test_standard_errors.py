"""Whatever is printed as a standard error is the spread over independent repetitions, which a simulation knows.

Rows of `test_frechet.py` cover the Frechet distance's, `test_generalization.py` the rate of copies'.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import likelihood, reverse, schedules
from diffusion_jax.evaluation import inception_score, kid
from tests.oracles import GAUSSIAN

REPETITIONS = 300  # a standard deviation of so many is uncertain by 4 %
BOUNDS = (0.85, 1.35)  # at MMD = 0 parts that may be below zero are cut off there, which adds to the error


def ratio(reported, values):
    return np.sqrt(np.mean(np.square(reported))) / np.std(values, ddof=1)


# samples, reference rows, subset size, subsets: subsets that are the whole set, and smaller ones
SIZES = [(40, 40, 40, 2), (40, 120, 40, 5), (120, 120, 40, 5), (150, 150, 150, 2)]


@pytest.mark.slow
@pytest.mark.parametrize('shift', [0.0, 0.1, 0.5])
@pytest.mark.parametrize('sizes', SIZES, ids=str)
def test_kernel_distance(sizes, shift):
    n, m, size, subsets = sizes
    rng = np.random.default_rng([n, m, size])

    def distance(reference, seed):
        return kid.kernel_distance(rng.normal(size=(n, 4)) * (1 + shift) + shift, reference, subsets, size, seed)

    # One reference for all repetitions may lie anywhere, so the error over samples alone is a mean over references.
    references = rng.normal(size=(REPETITIONS, m, 4))
    both = [distance(reference, i) for i, reference in enumerate(references)]
    assert BOUNDS[0] < ratio([v.with_reference for v in both], [v.mean for v in both]) < BOUNDS[1]
    pairs = [[distance(reference, 2 * i + j) for j in range(2)] for i, reference in enumerate(references)]
    reported = [v.standard_error for pair in pairs for v in pair]
    halves = [(a.mean - b.mean) / np.sqrt(2) for a, b in pairs]
    assert BOUNDS[0] < ratio(reported, [*halves, *np.negative(halves)]) < BOUNDS[1]
    assert min(reported) > 0.1 * np.mean(reported)


def test_the_kernel_distances_error_where_every_subset_is_the_set():
    """297 of 297 rows: the spread over subsets is rounding, and the error is not."""
    x, y = np.random.default_rng(0).normal(size=(2, 297, 8))
    whole = kid.kernel_distance(x, y, 20, 297)
    assert whole.standard_error > 1e-3
    assert whole.with_reference > whole.standard_error
    other = kid.kernel_distance(y, x, 20, 297)
    np.testing.assert_allclose(other.with_reference, whole.with_reference, rtol=1e-6)


def test_an_error_of_fewer_than_four_rows_is_none():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 2))
    assert np.isnan(kid.kernel_distance(x, y, 2, 3)[1:]).all()


@pytest.mark.slow
def test_the_parts_of_the_variance_are_those_of_the_kernel():
    """Against their definitions by sums over all points of two discrete distributions, of which the data are draws."""
    rng = np.random.default_rng(1)
    p, q = 0.3 * rng.normal(size=(5, 2)), 0.3 * rng.normal(size=(4, 2))

    def k(a, b):
        return (a @ b.T / 2 + 1) ** 3

    mean = k(p, p).mean(1) - k(p, q).mean(1)
    centred = k(p, p) - k(p, p).mean(0) - k(p, p).mean(1)[:, None] + k(p, p).mean()
    across = k(p, q) - k(p, q).mean(0)[None] - k(p, q).mean(1)[:, None] + k(p, q).mean()
    want = mean.var(), np.mean(centred**2), np.mean(across**2)
    draws = [(p[rng.integers(0, 5, 8)], q[rng.integers(0, 4, 7)]) for _ in range(20_000)]
    got = np.array([kid._parts(*kid._kernels(x, y))[:3] for x, y in draws])
    assert (np.abs(got.mean(0) - want) < 4 * got.std(0) / np.sqrt(len(got))).all(), (got.mean(0), want)


@pytest.mark.parametrize('n', [60, 600])
def test_class_score(n):
    rng = np.random.default_rng(n)
    scores = [inception_score.inception_score(3 * rng.normal(size=(n, 5))) for _ in range(REPETITIONS)]
    values = [s.mean for s in scores]
    assert 0.85 < ratio([s.standard_error for s in scores], values) < 1.15
    assert ratio([s.std for s in scores], values) > 2.5  # what papers print beside the mean is no error of it
    assert np.isnan(inception_score.inception_score(rng.normal(size=(9, 5)), 1).standard_error)


@pytest.mark.parametrize('terms', [1, 4])
def test_bits_per_dim(terms):
    """The mean over rows, each with a noise and steps of its own: as `inference.runs` has it, std / sqrt(n)."""
    T, n = 20, 50
    schedule = schedules.DiscreteVP(schedules.linear_betas(T, 0.1 / T, 0.99))

    def denoise(x, t):
        return GAUSSIAN.denoise(x, schedule.alpha(t)[:, None], schedule.sigma(t)[:, None])

    bound = jax.jit(likelihood.vlb(reverse.fixed(denoise, schedule), schedule, T, terms=terms))
    x = np.random.default_rng(0).normal(GAUSSIAN.mean, np.sqrt(GAUSSIAN.var), (REPETITIONS * n, 1))
    total = np.asarray(bound(jax.random.key(0), jnp.asarray(x, jnp.float32)).total).reshape(REPETITIONS, n)
    errors = total.std(axis=1, ddof=1) / np.sqrt(n)
    assert 0.85 < ratio(errors, total.mean(axis=1)) < 1.15
