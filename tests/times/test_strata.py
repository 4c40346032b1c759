"""Parts of p(t): equally probable, one after the other, and together the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffusion_jax import times
from diffusion_jax.times import curricula

N, SIZE = 4, 20_000


@pytest.mark.parametrize('i', range(N))
def test_a_part_is_the_distribution_between_two_quantiles(i):
    """The logarithm is normal, cut at its quantiles: the rest of its distribution function is uniform."""
    t = times.stratum(times.log_normal(-1.2, 1.2), i, N)(jax.random.key(i), (SIZE,))
    u = N * stats.norm.cdf((np.log(np.asarray(t, np.float64)) + 1.2) / 1.2) - i
    # The ends are those of as many draws, and vary like quantiles.
    assert -0.05 < u.min() < 0.05
    assert 0.95 < u.max() < 1.05
    assert stats.kstest(np.clip(u, 0, 1), 'uniform').statistic < 0.02


def test_the_order_within_a_batch_says_nothing():
    t = times.stratum(times.continuous_uniform(), 1, N)(jax.random.key(0), (SIZE,))
    assert abs(np.corrcoef(np.arange(SIZE), t)[0, 1]) < 0.03


def test_parts_of_pairs_keep_them_together():
    """Every pair is one of the grid's, and all parts have as many of each as the whole."""
    pairs = times.uniform_pairs(curricula.constant(9))
    in_part = jax.jit(lambda i: times.stratum_of_pairs(pairs, i, N)(jax.random.key(1), (SIZE // N,), jnp.array(0)))
    t, s = (np.concatenate(v) for v in zip(*(in_part(i) for i in range(N)), strict=True))
    whole = pairs(jax.random.key(2), (SIZE,), jnp.array(0))
    found, wanted = (np.unique(np.stack(v), axis=1, return_counts=True) for v in ((t, s), whole))
    np.testing.assert_array_equal(found[0], wanted[0])
    assert np.abs(found[1] - SIZE / 8).max() < 5 * np.sqrt(SIZE / 8)
    first, last = (np.asarray(in_part(i)[0]) for i in (0, N - 1))
    assert first.max() < last.min()


def test_the_step_of_a_curriculum_is_told():
    pairs = times.stratum_of_pairs(times.log_normal_pairs(curricula.doubling(800, s_1=1280)), N - 1, N)
    coarse, fine = (pairs(jax.random.key(0), (100,), jnp.array(step)) for step in (0, 799))
    gaps = (np.asarray(t) ** (1 / 7) - np.asarray(s) ** (1 / 7) for t, s in (coarse, fine))
    np.testing.assert_allclose(next(gaps).mean() / next(gaps).mean(), 1280 / 10, rtol=1e-2)
