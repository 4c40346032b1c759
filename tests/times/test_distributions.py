import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from diffusion_jax import times


def test_training_times_follow_their_distributions():
    n = 20_000
    table = np.asarray(times.discrete_uniform(8)(jax.random.key(0), (n,)))
    np.testing.assert_array_equal(table, np.round(table * 8) / 8)
    counts = np.bincount(np.round(table * 8).astype(int), minlength=9)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-3
    cases = [
        (times.continuous_uniform(0.1, 0.7), stats.uniform(0.1, 0.6)),
        (times.log_normal(-1.2, 1.2), stats.lognorm(s=1.2, scale=np.exp(-1.2))),
    ]
    for i, (p_t, want) in enumerate(cases):
        t = p_t(jax.random.key(i), (n,))
        assert stats.kstest(np.asarray(t), want.cdf).pvalue > 1e-3
    t = np.asarray(times.logit_normal(0.3, 0.8)(jax.random.key(3), (n,)), np.float64)
    assert stats.kstest(np.log(t / (1 - t)), stats.norm(0.3, 0.8).cdf).pvalue > 1e-3
    assert times.discrete_uniform()(jax.random.key(0), (3,)).dtype == jnp.float32


def test_levels_are_uniform_on_edms_grid():
    """A share u of EDM's eq. 5 in [0.02, 0.98) is DMD's (T_min, T_max), in [0, 1) the whole of it."""
    for low, high in ((0.02, 0.98), (0.0, 1.0)):
        sigma = np.asarray(times.karras_uniform(low, high)(jax.random.key(2), (20_000,)), np.float64)
        grid = np.sort(times.karras(1000)[:-1])
        share = np.interp(sigma, grid, np.arange(1000) / 999)
        assert stats.kstest(share, stats.uniform(low, high - low).cdf).pvalue > 1e-3
        assert low - 1e-3 < share.min() < share.max() < high + 1e-3
    share = times.karras_uniform(sigma_min=0.1, sigma_max=10.0, rho=1.0)(jax.random.key(2), (20_000,))
    assert stats.kstest(np.asarray(share), stats.uniform(0.1 + 0.02 * 9.9, 0.96 * 9.9).cdf).pvalue > 1e-3


def test_angles_are_scms():
    """ln(sigma_data tan t) ~ N(-1, 1.4^2), in (0, pi / 2) (arXiv 2410.11081, algorithm 1 and appendix G.2)."""
    for kwargs, want, sigma_data in (
        ({}, stats.norm(-1.0, 1.4), 0.5),
        ({'P_mean': 0.4, 'P_std': 0.7}, stats.norm(0.4, 0.7), 2.0),
    ):
        t = np.asarray(
            times.arctan_log_normal(**kwargs, sigma_data=sigma_data)(jax.random.key(2), (20_000,)), np.float64
        )
        assert 0 < t.min() < t.max() < np.pi / 2
        assert stats.kstest(np.log(sigma_data * np.tan(t)), want.cdf).pvalue > 1e-3
