import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import drift, schedules
from tests import oracles

DATA = oracles.GAUSSIAN
SCHEDULES = {
    'table': schedules.DiscreteVP(schedules.linear_betas()),
    'LinearVP': schedules.LinearVP(),
    'CosineVP': schedules.CosineVP(),
    'VE': schedules.VE(),
    'RectifiedFlow': schedules.RectifiedFlow(),
    'TrigFlow': schedules.TrigFlow(0.5),
}
T = jnp.array([0.12345, 0.5005, 0.9503])  # between the points of the table, which are kinks


def denoiser(schedule):
    def denoise(x, t):
        a, s = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        return DATA.denoise(x, a, s)

    return denoise


@pytest.mark.parametrize('name', SCHEDULES)
def test_velocity_is_the_derivative_of_the_exact_ode_map(name, x64):
    schedule, h = SCHEDULES[name], 1e-6
    x, t = jnp.array([[-1.0, 2.0]] * 3), T.astype(jnp.float64)
    got = drift.velocity(denoiser(schedule), schedule)(x, t)

    def scales(u):
        return np.asarray(schedule.alpha(u))[:, None], np.asarray(schedule.sigma(u))[:, None]

    x = np.asarray(x)
    want = (DATA.pf_ode(x, scales(t), scales(t + h)) - DATA.pf_ode(x, scales(t), scales(t - h))) / (2 * h)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('name', SCHEDULES)
def test_score_and_sde(name, x64):
    schedule, t = SCHEDULES[name], T.astype(jnp.float64)
    x = jnp.array([[-1.0, 2.0]] * 3)
    a, s = schedule.alpha(t), schedule.sigma(t)
    mean, var = DATA.marginal(np.asarray(a)[:, None], np.asarray(s)[:, None])
    score = drift.score(denoiser(schedule), schedule)(x, t)
    np.testing.assert_allclose(score, (mean - np.asarray(x)) / var, rtol=1e-9)
    # The moments of dx = f x dt + g dw obey a' = f a and (s^2)' = 2 f s^2 + g^2; and the PF-ODE is f x - g^2 score / 2.
    f, g2 = drift.sde_coefficients(schedule, t)
    h = 1e-6
    np.testing.assert_allclose(f, np.log(schedule.alpha(t + h) / schedule.alpha(t - h)) / (2 * h), rtol=1e-6, atol=1e-9)
    ds2 = (schedule.sigma(t + h) ** 2 - schedule.sigma(t - h) ** 2) / (2 * h)
    np.testing.assert_allclose(g2, ds2 - 2 * f * s**2, rtol=1e-6)
    velocity = drift.velocity(denoiser(schedule), schedule)(x, t)
    np.testing.assert_allclose(velocity, f[:, None] * x - g2[:, None] * score / 2, rtol=1e-8, atol=1e-10)


def test_linear_vp_has_its_sde(x64):
    t = T.astype(jnp.float64)
    f, g2 = drift.sde_coefficients(schedules.LinearVP(0.1, 20.0), t)
    np.testing.assert_allclose(g2, 0.1 + 19.9 * t, rtol=1e-9)  # g^2 = beta(t), f = -beta(t) / 2
    np.testing.assert_allclose(f, -(0.1 + 19.9 * t) / 2, rtol=1e-9)


def test_velocity_is_finite_without_signal():
    for schedule, end in ((schedules.RectifiedFlow(), 1.0), (schedules.TrigFlow(), np.pi / 2)):
        x = jnp.ones((1, 2))
        v = jax.jit(drift.velocity(denoiser(schedule), schedule))(x, jnp.array([end]))
        np.testing.assert_allclose(v, x - 0.3 if end == 1 else -0.3 * jnp.ones_like(x), atol=1e-6)
