"""A model told other times: what is exact on Gaussian data, and that only noise levels matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules
from diffusion_jax.samplers.retime import retimed
from diffusion_jax.times import noise_levels
from tests.oracles import GAUSSIAN, Gaussian
from tests.samplers.test_ancestral import PATHS, bind, scales

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(8, 1))
CENTRED = Gaussian(np.float64(0.0), np.float64(0.25))
AT, TOLD = np.array([15.0, 3.0, 0.5]), np.array([9.0, 3.3, 0.2])  # noise levels


def exact_levels(at, c):
    """Where Euler's step in sigma must ask N(0, c^2)'s denoiser to be exact.

    The step multiplies x by 1 + (s / t - 1) (1 - g) with g = c^2 / (c^2 + tau^2), the flow by a ratio of deviations.
    """
    t, s = at, np.append(at[1:], 0.0)
    one_minus_g = (1 - np.sqrt((c**2 + s**2) / (c**2 + t**2))) * t / (t - s)
    return c * np.sqrt(one_minus_g / (1 - one_minus_g))


def ddim(data, schedule, x, times, told):
    denoise = retimed(bind(data, schedule), schedule, jnp.asarray(times[:-1]), jnp.asarray(told))
    return samplers.sample(samplers.ddim(denoise, schedule), KEY, jnp.asarray(x), times)


def test_on_a_centred_gaussian_three_steps_of_ddim_can_be_exact(x64):
    ve = schedules.VE()
    told = exact_levels(AT, 0.5)
    x = ddim(CENTRED, ve, 15 * X, np.append(AT, 0.0), told)
    exact = CENTRED.pf_ode(15 * X, (1.0, 15.0), (1.0, 0.0))
    np.testing.assert_allclose(x, exact, rtol=1e-9)
    plain = ddim(CENTRED, ve, 15 * X, np.append(AT, 0.0), AT)
    assert np.abs(plain - exact).mean() > 0.02


@pytest.mark.parametrize('name', [n for n in PATHS if n != 'VE'])
def test_the_same_levels_are_the_same_map_on_every_schedule(name, x64):
    schedule, _ = PATHS[name]
    times = np.append(noise_levels.times_at(schedule, AT), 0.0)
    (alpha, _), *_ = scales(schedule, times[:1])
    x = ddim(GAUSSIAN, schedule, alpha * 15 * X, times, noise_levels.times_at(schedule, TOLD))
    np.testing.assert_allclose(x, ddim(GAUSSIAN, schedules.VE(), 15 * X, np.append(AT, 0.0), TOLD), rtol=1e-6)


def test_between_the_times_and_for_one_time_a_sample():
    """At sqrt(t s) the model is told sqrt(tau_t tau_s); beyond the ends the shift stays."""
    denoise = retimed(lambda x, t: t, schedules.VE(), jnp.asarray(AT), jnp.asarray(TOLD))
    t = jnp.asarray([np.sqrt(15.0 * 3.0), 3.0, 0.25])
    want = [np.sqrt(9.0 * 3.3), 3.3, 0.25 * 0.2 / 0.5]
    np.testing.assert_allclose(denoise(jnp.zeros((3, 2)), t), want, rtol=1e-6)


def test_where_there_is_no_signal_the_time_stays():
    schedule = schedules.RectifiedFlow()
    denoise = retimed(lambda x, t: (x, t), schedule, jnp.asarray([1.0, 0.5]), jnp.asarray([0.6, 0.4]))
    x, t = denoise(jnp.ones((2, 1)), jnp.asarray([1.0, 0.5]))
    np.testing.assert_allclose(t, [1.0, 0.4], rtol=1e-6)
    np.testing.assert_allclose(x, [[1.0], [0.6 / 0.5]], rtol=1e-6)  # alpha = 1 - t
