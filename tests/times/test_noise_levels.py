"""Times at given noise levels against closed forms, and against the levels that the schedule has there."""

import jax
import numpy as np
import pytest

from diffusion_jax import schedules
from diffusion_jax.times import noise_levels

LEVELS = np.array([[120.0, 80.0, 2.5], [1.0, 0.02, 0.01]])
TABLE = schedules.DiscreteVP(schedules.linear_betas())


def linear_vp(level):
    """alpha^2 = 1 / (1 + level^2) and -2 ln alpha = 0.1 t + 19.9 t^2 / 2, solved for t."""
    return (-0.1 + np.sqrt(0.01 + 2 * 19.9 * np.log1p(level**2))) / 19.9


CLOSED_FORMS = {
    schedules.VE(): lambda level: level,
    schedules.RectifiedFlow(): lambda level: level / (1 + level),
    schedules.CosineVP(): lambda level: np.arctan(level) * 2 / np.pi,
    schedules.TrigFlow(0.5): lambda level: np.arctan(level / 0.5),
    schedules.LinearVP(): linear_vp,
}


@pytest.mark.parametrize('schedule', CLOSED_FORMS)
def test_times_are_the_closed_forms(schedule):
    t = noise_levels.times_at(schedule, LEVELS)
    assert t.shape == LEVELS.shape
    assert t.dtype == np.float64
    np.testing.assert_allclose(t, CLOSED_FORMS[schedule](LEVELS), rtol=1e-12)
    np.testing.assert_allclose(noise_levels.of(schedule, t), LEVELS, rtol=1e-12)


def test_times_of_a_table_are_its_points_and_between_them_have_the_level():
    k = np.array([1, 500, 1000])
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[k - 1]
    np.testing.assert_allclose(noise_levels.times_at(TABLE, np.sqrt(1 / abar - 1)), k / 1000, rtol=1e-12)
    np.testing.assert_allclose(noise_levels.of(TABLE, noise_levels.times_at(TABLE, LEVELS)), LEVELS, rtol=1e-12)


def test_a_level_without_signal_is_where_alpha_ends():
    ends_at_0 = schedules.DiscreteVP(np.append(schedules.linear_betas(999), 1.0))
    ends = {schedules.RectifiedFlow(): 1.0, schedules.CosineVP(): 1.0, schedules.TrigFlow(): np.pi / 2, ends_at_0: 1.0}
    for schedule, t_max in ends.items():
        np.testing.assert_allclose(noise_levels.times_at(schedule, np.array(np.inf)), t_max, rtol=1e-15)
    assert noise_levels.of(ends_at_0, np.array(1.0)) == np.inf


def test_grids_are_constants_inside_a_compiled_function_too():
    grid = jax.jit(lambda x: x + noise_levels.times_at(schedules.RectifiedFlow(), LEVELS))(0.0)
    np.testing.assert_allclose(grid, LEVELS / (1 + LEVELS), rtol=1e-6)


def test_levels_that_a_schedule_does_not_have_are_refused():
    for schedule, level in ((TABLE, 200.0), (schedules.VE(), np.inf)):
        with pytest.raises(ValueError, match=f'no noise level as high as {level:g}'):
            noise_levels.times_at(schedule, np.array([1.0, level]))
