import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from diffusion_jax import curricula, schedules, specs, times

NS = (1, 2, 10, 50, 1000)
# name: grid of n steps, largest time, n to try
GRIDS = {
    'uniform': (times.uniform, 1.0, NS),
    'trailing': (times.trailing, 1.0, (*NS, 7, 333)),
    'leading': (times.leading, 1.0, (*NS, 7, 333)),
    'quadratic': (times.quadratic, 1.0, (*NS, 7, 333, 999)),
    'quadratic to T': (lambda n: times.quadratic(n, t_max=1.0), 1.0, NS),
    'karras': (times.karras, 80.0, NS),
    'multistep': (times.multistep, 80.0, NS),
    'log_snr': (lambda n: times.log_snr(n, schedules.LinearVP()), 1.0, (1, 2, 10, 50)),
    'log_snr table': (lambda n: times.log_snr(n, schedules.DiscreteVP(schedules.linear_betas())), 1.0, (1, 10)),
}


@pytest.mark.parametrize('name', GRIDS)
def test_grids_decrease_to_clean_data(name):
    grid, largest, ns = GRIDS[name]
    for n in ns:
        t = grid(n)
        assert t.shape == (n + 1,)
        assert (np.diff(t) < 0).all()
        assert t[-1] == 0
        assert t[0] <= largest * (1 + 1e-12)
        if name in ('trailing', 'leading', 'quadratic', 'quadratic to T'):
            np.testing.assert_array_equal(t, np.round(t * 1000) / 1000)


def test_paper_values():
    def k(t):
        return np.round(t * 1000).astype(int).tolist()

    assert k(times.uniform(10)) == [*range(1000, -1, -100)]
    assert k(times.trailing(10)) == [*range(1000, -1, -100)]
    assert k(times.trailing(7)) == [1000, 857, 714, 571, 429, 286, 143, 0]
    assert k(times.leading(10)) == [*range(901, 0, -100), 0]
    assert k(times.leading(1000)) == [*range(1000, -1, -1)]
    # The released `np.linspace(0, np.sqrt(T * 0.8), S) ** 2` cut to integers; the table's k is that index plus one.
    index = [0, 9, 39, 88, 158, 246, 355, 483, 632, 800]
    assert k(times.quadratic(10))[::-1] == [0, *(i + 1 for i in index)]
    # At S = 50 it repeats an index, which pushes two on; all other points are the released ones.
    released = (np.linspace(0, np.sqrt(800), 50) ** 2 + 1e-9).astype(int)
    assert released[:3].tolist() == [0, 0, 1]
    ours = k(times.quadratic(50))[::-1]
    assert ours[:5] == [0, 1, 2, 3, 4]
    assert ours[5:] == (released[4:] + 1).tolist()


def test_karras_and_uniform_values():
    np.testing.assert_allclose(times.karras(2), [80.0, 0.002, 0.0])
    rho = [80 ** (1 / 7), (80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2]
    np.testing.assert_allclose(times.karras(3)[:2], [rho[0] ** 7, rho[1] ** 7])
    np.testing.assert_allclose(times.uniform(4, t_max=2.0), [2, 1.5, 1, 0.5, 0])


def test_multistep_levels_end_above_sigma_min():
    np.testing.assert_array_equal(times.multistep(1), [80, 0])
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    np.testing.assert_allclose(times.multistep(2), [80, middle, 0])
    np.testing.assert_allclose(times.multistep(3, 0.1, 10.0, 1.0), [10, 6.7, 3.4, 0])


@pytest.mark.parametrize(
    ('given', 'want'),
    [
        ('80/0.821/0', [80, 0.821, 0]),
        ('80/0.821', [80, 0.821, 0]),
        ('1e1', [10, 0]),
        (80, [80, 0]),  # what a command line makes of `at:times=80`
        (1.5, [1.5, 0]),
        ((80, 2.5), [80, 2.5, 0]),
        ([3.0, 2.0, 1.0, 0.0], [3, 2, 1, 0]),
    ],
)
def test_at_is_the_times_given(given, want):
    grid = times.at(given)
    np.testing.assert_array_equal(grid, want)
    assert grid.dtype == np.float64


def test_at_can_be_given_on_a_command_line():
    for text in ('at:times=80/0.821', 'at:times=80', 'at:times=1.5'):
        grid = specs.make(times, specs.parse_spec(text), {}, 'grid')
        np.testing.assert_array_equal(grid, times.at(text.removeprefix('at:times=')))


@pytest.mark.parametrize('given', ['', '80/x', '1/2', '2/2/0', '2/-1', '0', 'nan', 'inf/1', '1/nan', '2/0/0', (), -1.0])
def test_at_refuses_times_that_are_no_grid(given):
    with pytest.raises(ValueError, match=r'decrease|could not convert'):
        times.at(given)


def test_log_snr_is_equally_spaced():
    t = times.log_snr(20, schedules.LinearVP())
    integral = 0.1 * t[:-1] + 19.9 * t[:-1] ** 2 / 2
    lam = -integral - np.log(-np.expm1(-integral))
    np.testing.assert_allclose(np.diff(lam), np.diff(lam).mean(), rtol=1e-3)
    np.testing.assert_allclose([t[0], t[-2]], [1.0, 1e-3], rtol=1e-3)


def test_log_snr_refuses_a_start_without_signal():
    for schedule in (schedules.CosineVP(), schedules.RectifiedFlow()):
        with pytest.raises(ValueError, match='t_max'):
            times.log_snr(10, schedule)


@pytest.mark.parametrize('n', [0, -1, 1001])
@pytest.mark.parametrize(
    'grid', [times.uniform, times.trailing, times.leading, times.quadratic, times.karras, times.multistep]
)
def test_impossible_step_counts_are_refused(grid, n):
    if n > 0 and grid in (times.uniform, times.karras, times.multistep):
        pytest.skip('not bound to a table')
    with pytest.raises(ValueError, match='at least 1 step'):
        grid(n)


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
    pairs = times.log_normal_pairs(curricula.doubling(800))
    for step, n in ((0, 11), (100, 21), (799, 1281)):
        t, s = jax.jit(pairs, static_argnums=1)(jax.random.key(0), (1000,), jnp.array(step))
        gap = np.asarray(t, np.float64) ** (1 / 7) - np.asarray(s, np.float64) ** (1 / 7)
        np.testing.assert_allclose(gap, (80 ** (1 / 7) - 0.002 ** (1 / 7)) / (n - 1), rtol=1e-2 if n > 100 else 1e-3)


def test_continuous_pairs_are_ects():
    pairs = times.continuous_pairs(every=100)
    for step, a in ((0, 1), (99, 1), (100, 2), (730, 8)):
        t, s = (np.asarray(v, np.float64) for v in pairs(jax.random.key(0), (20_000,), jnp.array(step)))
        assert stats.kstest(np.log(t), stats.norm(-1.1, 2.0).cdf).pvalue > 1e-3
        want = np.maximum(t * (1 - (1 + 8 / (1 + np.exp(t))) / 2.0**a), 0)
        np.testing.assert_allclose(s, want, rtol=1e-4, atol=1e-6)
        assert (s < t).all()
        assert (s == 0).any() == (a < 3)
    t, s = pairs(jax.random.key(0), (20_000,), jnp.array(10_000))  # far beyond float32's digits
    assert (t - s > 0).all()


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
