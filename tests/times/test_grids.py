import numpy as np
import pytest

from diffusion_jax import schedules, search, times
from diffusion_jax.builders import specs

NS = (1, 2, 10, 50, 1000)
# name: grid of n steps, largest time, n to try
GRIDS = {
    'uniform': (times.uniform, 1.0, NS),
    'trailing': (times.trailing, 1.0, (*NS, 7, 333)),
    'leading': (times.leading, 1.0, (*NS, 7, 333)),
    'linspace': (times.linspace, 1.0, (*NS, 7, 333, 999)),
    'quadratic': (times.quadratic, 1.0, (*NS, 7, 333, 999)),
    'quadratic to T': (lambda n: times.quadratic(n, t_max=1.0), 1.0, NS),
    'karras': (times.karras, 80.0, NS),
    'multistep': (times.multistep, 80.0, NS),
    'karras on flow': (lambda n: times.karras(n, schedule=schedules.RectifiedFlow()), 1.0, (1, 2, 10)),
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
        if name in ('trailing', 'leading', 'linspace', 'quadratic', 'quadratic to T'):
            np.testing.assert_array_equal(t, np.round(t * 1000) / 1000)


def test_paper_values():
    def k(t):
        return np.round(t * 1000).astype(int).tolist()

    assert k(times.uniform(10)) == [*range(1000, -1, -100)]
    assert k(times.trailing(10)) == [*range(1000, -1, -100)]
    assert k(times.trailing(7)) == [1000, 857, 714, 571, 429, 286, 143, 0]
    assert k(times.trailing(4, among=50)) == [1000, 760, 500, 260, 0]  # of 20, 40 .. 1000, rounded up
    assert k(times.leading(10)) == [*range(901, 0, -100), 0]
    assert k(times.leading(10, offset=1, last=1)) == [*range(902, 1, -100), 1]
    assert k(times.leading(50, offset=19, last=1)) == [*range(1000, 19, -20), 1]
    assert k(times.leading(30)) == [*range(958, 0, -33), 0]  # the released `range(0, 1000, 33)` has 31, up to 990
    assert k(times.linspace(5)) == [1000, 750, 501, 251, 1, 0]  # np.linspace(0, 999, 5).round() + 1
    assert k(times.linspace(1)) == [1000, 0]
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


@pytest.mark.parametrize('n', [1, 2, 3])
def test_first_of_is_the_search_for_fewer_steps(n):
    """The times of n steps are those of more, cut short: that is what a greedy search finds."""

    def loss(grid):
        return sum((np.log(t) - np.log(best)) ** 2 for t, best in zip(grid[1:-1], (3.0, 0.4), strict=False))

    found = search.greedy_times(loss, 3, 60)
    grid = times.first_of(n, found[:-1].tolist())
    np.testing.assert_array_equal(grid, search.greedy_times(loss, n, 60))
    np.testing.assert_allclose(grid[1:-1], (3.0, 0.4)[: n - 1], rtol=1e-3)


def test_first_of_on_a_command_line_and_beyond_its_times():
    for n, want in ((1, [80, 0]), (2, [80, 0.821, 0])):
        spec = {**specs.parse_spec('first_of:times=80/0.821'), 'n': n}
        np.testing.assert_array_equal(specs.make(times, spec, {}, 'grid'), want)
    for given in ((80.0, 0.821), '80/0.821/0'):
        with pytest.raises(ValueError, match='of 3 steps needs as many times; there are 2'):
            times.first_of(3, given)


def test_karras_on_any_schedule_is_where_it_has_the_levels_of_ve():
    levels = times.karras(6)[:-1]
    np.testing.assert_array_equal(times.karras(6, schedule=schedules.VE()), times.karras(6))
    np.testing.assert_allclose(times.karras(6, schedule=schedules.RectifiedFlow())[:-1], levels / (1 + levels))
    grid = times.karras(6, sigma_min=0.02, rho=3.0, schedule=schedules.TrigFlow(0.5))
    np.testing.assert_allclose(grid[:-1], np.arctan(times.karras(6, sigma_min=0.02, rho=3.0)[:-1] / 0.5), rtol=1e-12)
    assert grid[-1] == 0


def test_log_snr_is_equally_spaced():
    t = times.log_snr(20, schedules.LinearVP())
    integral = 0.1 * t[:-1] + 19.9 * t[:-1] ** 2 / 2
    lam = -integral - np.log(-np.expm1(-integral))
    np.testing.assert_allclose(np.diff(lam), np.diff(lam).mean(), rtol=1e-9)
    np.testing.assert_allclose([t[0], t[-2]], [1.0, 1e-3], rtol=1e-9)


def test_log_snr_names_the_start_to_use_where_there_is_no_signal():
    for schedule, t_max in ((schedules.CosineVP(), 0.992043), (schedules.RectifiedFlow(), 0.987654)):
        with pytest.raises(ValueError, match=f't_max = {t_max}'):
            times.log_snr(10, schedule)
        assert times.log_snr(10, schedule, t_max=t_max)[0] == t_max
    with pytest.raises(ValueError, match=r't_min must be in \(0, inf\); got 0'):
        times.log_snr(10, schedules.LinearVP(), t_min=0.0)


@pytest.mark.parametrize('n', [0, -1, 1001])
@pytest.mark.parametrize(
    'grid',
    [times.uniform, times.trailing, times.leading, times.linspace, times.quadratic, times.karras, times.multistep],
)
def test_impossible_step_counts_are_refused(grid, n):
    if n > 0 and grid in (times.uniform, times.karras, times.multistep):
        pytest.skip('not bound to a table')
    with pytest.raises(ValueError, match='at least 1 step'):
        grid(n)
