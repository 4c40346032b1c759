import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from diffusion_jax import times
from diffusion_jax.times import curricula


def karras_points(n):
    """The paper's t_1 .. t_n, increasing."""
    i = np.arange(1, n + 1)
    return (0.002 ** (1 / 7) + (i - 1) / (n - 1) * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7


def neighbours(pairs, n, size=40_000):
    """Index of s among n points, after checking that t is the next one."""
    t, s = (np.asarray(v, np.float64) for v in pairs(jax.random.key(0), (size,), jnp.array(0)))
    points = karras_points(n)
    i = np.abs(s[:, None] / points - 1).argmin(1)
    np.testing.assert_allclose(s, points[i], rtol=1e-5)
    np.testing.assert_allclose(t, points[i + 1], rtol=1e-5)
    assert (s[i == 0] == np.float32(0.002)).all()
    return i


def test_uniform_pairs_are_neighbours_on_karras_grid():
    for n in (2, 18):
        counts = np.bincount(neighbours(times.uniform_pairs(curricula.constant(n)), n), minlength=n - 1)
        assert len(counts) == n - 1
        assert n == 2 or stats.chisquare(counts).pvalue > 1e-3


def test_log_normal_pairs_have_icts_probabilities():
    """Differences of erf with P_mean = -1.1 and P_std = 2 (arXiv 2310.14189), normalised over the intervals."""
    n = 11
    i = neighbours(times.log_normal_pairs(curricula.constant(n)), n)
    p = np.diff(special.erf((np.log(karras_points(n)) + 1.1) / (np.sqrt(2) * 2.0)))
    assert stats.chisquare(np.bincount(i, minlength=n - 1), len(i) * p / p.sum()).pvalue > 1e-3


def test_pairs_follow_the_curriculum():
    """10 intervals at first, 20 after the first stage: the step decides, in a compiled function as well."""
    pairs = times.log_normal_pairs(curricula.doubling(800, s_1=1280))
    for step, n in ((0, 11), (100, 21), (799, 1281)):
        t, s = jax.jit(pairs, static_argnums=1)(jax.random.key(0), (1000,), jnp.array(step))
        gap = np.asarray(t, np.float64) ** (1 / 7) - np.asarray(s, np.float64) ** (1 / 7)
        np.testing.assert_allclose(gap, (80 ** (1 / 7) - 0.002 ** (1 / 7)) / (n - 1), rtol=1e-2 if n > 100 else 1e-3)


def test_continuous_pairs_are_ects():
    pairs = times.continuous_pairs(steps=807, stages=8)
    for step, a in ((0, 1), (99, 1), (100, 2), (730, 8)):
        t, s = (np.asarray(v, np.float64) for v in pairs(jax.random.key(0), (20_000,), jnp.array(step)))
        assert stats.kstest(np.log(t), stats.norm(-1.1, 2.0).cdf).pvalue > 1e-3
        want = np.maximum(t * (1 - (1 + 8 / (1 + np.exp(t))) / 2.0**a), 0)
        np.testing.assert_allclose(s, want, rtol=1e-4, atol=1e-6)
        assert (s < t).all()
        assert (s == 0).any() == (a < 3)
    t, s = pairs(jax.random.key(0), (20_000,), jnp.array(10_000))  # far beyond float32's digits
    assert (t - s > 0).all()


def test_a_longer_run_has_more_stages_of_smaller_gaps():
    """At t = 1 and b = 0, n = 5: the last stage has s = 1 - 5 / 2^stages."""
    for steps, stages in ((90, 1), (256, 2), (1000, 4), (4000, 6), (16_384, 8), (10**6, 8)):
        pairs = times.continuous_pairs(steps, P_mean=0.0, P_std=0.0, b=0.0)
        t, s = pairs(jax.random.key(0), (), jnp.array(steps // stages * stages - 1))
        assert t == 1
        np.testing.assert_allclose(s, max(1 - 5 / 2**stages, 0), rtol=1e-6)


def test_logit_normal_pairs_are_the_order_statistics_of_two_draws():
    n, share = 20_000, 0.25
    t, s = (np.asarray(v, np.float64) for v in times.logit_normal_pairs(share=share)(jax.random.key(0), (n,), None))
    apart = s != t
    assert (s <= t).all()
    assert stats.binomtest(int(apart.sum()), n, share).pvalue > 1e-3
    larger, smaller = (np.log(v / (1 - v)) for v in (t, s[apart]))
    cdf = stats.norm(-0.4, 1.0).cdf
    for sample in (larger, larger[apart]):
        assert stats.kstest(sample, lambda x: cdf(x) ** 2).pvalue > 1e-3
    assert stats.kstest(smaller, lambda x: 1 - (1 - cdf(x)) ** 2).pvalue > 1e-3
    # Given the larger, the smaller is a draw below it.
    assert stats.kstest(cdf(smaller) / cdf(larger[apart]), 'uniform').pvalue > 1e-3


def test_neighbours_are_those_of_the_grid_each_as_probable():
    grid = times.at([80.0, 3.0, 0.5, 0.1])
    t, s = (np.asarray(v) for v in jax.jit(times.neighbours(grid), static_argnums=1)(jax.random.key(0), (8000,), 3))
    i = np.argmin(np.abs(t[:, None] - grid), axis=1)
    np.testing.assert_allclose(t, grid[i], rtol=1e-6)
    np.testing.assert_allclose(s, grid[i + 1], rtol=1e-6)
    assert stats.chisquare(np.bincount(i, minlength=4)).pvalue > 1e-3


def test_nested_pairs_are_uniform_and_s_is_uniform_below_t():
    t, s = (np.asarray(v, np.float64) for v in times.nested_pairs(0.1, 0.6)(jax.random.key(0), (20_000,), None))
    assert stats.kstest(t, stats.uniform(0.1, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest((s - 0.1) / (t - 0.1), stats.uniform().cdf).pvalue > 1e-3
    assert abs(np.corrcoef(t, (s - 0.1) / (t - 0.1))[0, 1]) < 0.03
    assert ((s <= t) & (t > 0.1)).all()
