import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import schedules
from tests import oracles

BETAS = {
    'linear': schedules.linear_betas(1000),
    'cosine': schedules.cosine_betas(1000),
    'cosine 4000': schedules.cosine_betas(4000),
    'linear 4000': schedules.linear_betas(4000, 0.1 / 4000, 20 / 4000),
    'zero terminal': np.append(schedules.linear_betas(999), 1.0),
}
VP = {
    'linear': schedules.DiscreteVP(BETAS['linear']),
    'LinearVP': schedules.LinearVP(),
    'CosineVP': schedules.CosineVP(),
    'TrigFlow': schedules.TrigFlow(),
}
PATHS = VP | {'VE': schedules.VE(), 'RectifiedFlow': schedules.RectifiedFlow()}
T_MAX = {'TrigFlow': np.pi / 2, 'VE': 20.0}


def test_betas_are_the_papers():
    linear = schedules.linear_betas()
    assert (len(linear), linear[0], linear[-1]) == (1000, 1e-4, 0.02)
    np.testing.assert_allclose(np.diff(linear), (0.02 - 1e-4) / 999, rtol=1e-9)
    cosine = schedules.cosine_betas(1000)
    angle = [(k / 1000 + 0.008) / 1.008 * np.pi / 2 for k in range(1001)]
    np.testing.assert_allclose(np.cumprod(1 - cosine)[:-1], (np.cos(angle) / np.cos(angle[0]))[1:-1] ** 2, rtol=1e-9)
    # Only the last step is clipped, where abar would reach 0.
    assert cosine[-1] == 0.999
    assert (cosine[:-1] < 0.999).all()


@pytest.mark.parametrize('name', BETAS)
def test_table_is_exact_at_its_points_in_float32(name):
    betas = BETAS[name]
    T = len(betas)
    schedule = schedules.DiscreteVP(betas)
    assert schedule.T == T
    a, s = oracles.table(betas)
    t = jnp.arange(T + 1) / T
    # Two ulp; the absolute part is for abar near 0 alone, which no sampler can see.
    np.testing.assert_allclose(schedule.alpha(t), a, rtol=2e-7, atol=1e-9)
    np.testing.assert_allclose(schedule.sigma(t), s, rtol=2e-7)
    np.testing.assert_allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, 1, rtol=3e-7)
    assert schedule.alpha(t)[0] == 1
    assert schedule.sigma(t)[0] == 0


def test_rates_at_the_points_of_a_table_are_those_of_the_step_from_there(x64):
    """Abar is linear between them: its slope times 1 / T is abar_k - abar_{k - 1}, at k as just below it."""
    betas = schedules.cosine_betas(50)
    schedule, abar = schedules.DiscreteVP(betas), np.concatenate([[1], np.cumprod(1 - betas)])
    for k in (1, 7, 25, 49, 50):
        for t in (k / 50, (k - 1e-6) / 50):
            d_alpha, d_sigma = schedules.rates(schedule, jnp.asarray(t))
            a, s = scales_at(schedule, t)
            np.testing.assert_allclose(2 * a * d_alpha, 50 * (abar[k] - abar[k - 1]), rtol=1e-6)
            np.testing.assert_allclose(2 * s * d_sigma, -50 * (abar[k] - abar[k - 1]), rtol=1e-6)


def scales_at(schedule, t):
    return float(schedule.alpha(jnp.asarray(t))), float(schedule.sigma(jnp.asarray(t)))


def test_known_values_of_the_linear_table():
    # abar_1 = 1 - 1e-4; abar_2 adds 1e-4 + 0.0199 / 999; abar_1000 = exp(sum log(1 - beta)), 4.04e-5 in the literature.
    schedule = schedules.DiscreteVP(schedules.linear_betas())
    abar = np.asarray(schedule.alpha(jnp.array([0.001, 0.002, 1.0])), np.float64) ** 2
    np.testing.assert_allclose(abar[:2], [0.9999, 0.9999 * (1 - 1e-4 - 0.0199 / 999)], rtol=1e-6)
    np.testing.assert_allclose(abar[2], 4.036e-5, rtol=1e-3)


def test_a_table_is_linear_in_abar_between_its_points(x64):
    schedule = schedules.DiscreteVP(schedules.cosine_betas(5))
    points = schedule.alpha(jnp.arange(6) / 5) ** 2
    between = schedule.alpha((jnp.arange(5) + 0.25) / 5) ** 2
    np.testing.assert_allclose(between, 0.75 * points[:-1] + 0.25 * points[1:], rtol=1e-12)


@pytest.mark.parametrize('name', VP)
def test_variance_is_preserved_and_snr_falls(name, x64):
    t = jnp.linspace(0, T_MAX.get(name, 1.0), 1234)
    a, s = VP[name].alpha(t), VP[name].sigma(t)
    np.testing.assert_allclose(a**2 + s**2, 1, rtol=1e-12)
    assert (np.diff(a) < 0).all()
    assert (np.diff(s) > 0).all()


def test_continuous_schedules_against_their_definitions(x64):
    t = jnp.linspace(0.01, 0.99, 7)
    u = np.asarray(t)
    integral = 0.1 * u + 19.9 * u**2 / 2  # of beta(t) = 0.1 + 19.9 t
    cases = [
        (schedules.LinearVP(), np.exp(-integral / 2), np.sqrt(1 - np.exp(-integral))),
        (schedules.CosineVP(), np.cos(u * np.pi / 2), np.sin(u * np.pi / 2)),
        (schedules.VE(), np.ones(7), u),
        (schedules.RectifiedFlow(), 1 - u, u),
        (schedules.TrigFlow(0.5), np.cos(u), 0.5 * np.sin(u)),
    ]
    for schedule, a, s in cases:
        np.testing.assert_allclose(schedule.alpha(t), a, rtol=1e-12)
        np.testing.assert_allclose(schedule.sigma(t), s, rtol=1e-12)
        np.testing.assert_allclose(schedules.snr(schedule, t), a**2 / s**2, rtol=1e-10)
        np.testing.assert_allclose(schedules.log_snr(schedule, t), np.log(a**2 / s**2), rtol=1e-10, atol=1e-10)
    # The long table tends to its limit with beta(t) = T beta.
    table = schedules.DiscreteVP(schedules.linear_betas(100_000, 0.1 / 1e5, 20 / 1e5))
    np.testing.assert_allclose(table.alpha(t), schedules.LinearVP().alpha(t), rtol=2e-3)


@pytest.mark.parametrize('name', PATHS)
def test_rates_are_derivatives(name, x64):
    t, h = jnp.array([0.1, 0.4, 0.7]) + 2.5e-4, 1e-6
    for rate, f in zip(schedules.rates(PATHS[name], t), (PATHS[name].alpha, PATHS[name].sigma), strict=True):
        np.testing.assert_allclose(rate, (f(t + h) - f(t - h)) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('name', PATHS)
def test_posterior_is_bayes_rule(name, x64):
    schedule = PATHS[name]
    t, s = jnp.array([0.9, 0.5, 0.003]), jnp.array([0.3, 0.499, 0.002])
    x_0, x_t = jnp.array([[0.5, -1.0]] * 3), jnp.array([[0.2, 1.7]] * 3)
    mean = schedules.posterior_mean(schedule, x_t, x_0, t, s)
    var = schedules.posterior_variance(schedule, t, s)
    for i in range(3):
        scales = [tuple(float(f(u[i])) for f in (schedule.alpha, schedule.sigma)) for u in (t, s)]
        want_mean, want_var = oracles.bayes_posterior(np.asarray(x_t[i]), np.asarray(x_0[i]), *scales)
        np.testing.assert_allclose(mean[i], want_mean, rtol=1e-9)
        np.testing.assert_allclose(var[i], want_var, rtol=1e-9)


def test_posterior_is_ddpms_equation_7(x64):
    betas = schedules.linear_betas(50)
    abar = np.cumprod(1 - betas)
    k = np.arange(2, 51)
    schedule, t, s = schedules.DiscreteVP(betas), jnp.asarray(k / 50), jnp.asarray((k - 1) / 50)
    c_t, c_0 = schedules.posterior_coefficients(schedule, t, s)
    beta, abar_t, abar_s = betas[k - 1], abar[k - 1], abar[k - 2]
    np.testing.assert_allclose(c_0, np.sqrt(abar_s) * beta / (1 - abar_t), rtol=1e-9)
    np.testing.assert_allclose(c_t, np.sqrt(1 - beta) * (1 - abar_s) / (1 - abar_t), rtol=1e-9)
    np.testing.assert_allclose(
        schedules.posterior_variance(schedule, t, s), (1 - abar_s) / (1 - abar_t) * beta, rtol=1e-9
    )
    scale, var = schedules.transition(schedule, t, s)
    np.testing.assert_allclose(scale, np.sqrt(1 - beta), rtol=1e-12)
    np.testing.assert_allclose(var, beta, rtol=1e-10)


@pytest.mark.parametrize('schedule', [schedules.DiscreteVP(BETAS['zero terminal']), schedules.RectifiedFlow()])
def test_no_signal_at_the_end_stays_finite(schedule):
    one, s = jnp.ones(2), jnp.array([0.5, 0.0])
    assert (schedule.alpha(one) == 0).all()
    assert (schedule.sigma(one) == 1).all()
    c_t, c_0 = schedules.posterior_coefficients(schedule, one, s)
    np.testing.assert_array_equal(c_t, 0)
    np.testing.assert_allclose(c_0, schedule.alpha(s), rtol=1e-6)
    np.testing.assert_allclose(schedules.posterior_variance(schedule, one, s), schedule.sigma(s) ** 2, rtol=1e-6)


def test_q_sample_and_its_inverse(x64):
    x_0, eps, t = jnp.array([[1.0, -2.0], [3.0, 0.5]]), jnp.array([[0.1, 0.2], [-0.3, 1.0]]), jnp.array([0.25, 0.5])
    x_t = schedules.q_sample(schedules.RectifiedFlow(), x_0, t, eps)
    np.testing.assert_allclose(x_t, [[0.775, -1.45], [1.35, 0.75]])  # 3/4 x_0 + 1/4 eps, and half and half
    np.testing.assert_allclose(schedules.eps_from_x_0(schedules.RectifiedFlow(), x_t, x_0, t), eps)


def test_a_table_is_a_pytree():
    schedule = schedules.DiscreteVP(BETAS['linear'])
    t = jnp.array([0.123, 0.5])
    np.testing.assert_allclose(jax.jit(lambda s, t: s.sigma(t))(schedule, t), schedule.sigma(t), rtol=1e-6)
    assert jax.tree.structure(schedule) == jax.tree.structure(schedules.DiscreteVP(BETAS['cosine']))


def test_structures_tell_schedules_apart():
    """Compiled code is looked up by structure: equal ones would answer for each other."""
    classes = schedules.VE, schedules.RectifiedFlow, schedules.CosineVP, schedules.LinearVP, schedules.TrigFlow
    table = schedules.DiscreteVP(BETAS['linear'])
    each = [*(c() for c in classes), schedules.LinearVP(0.1, 10.0), schedules.TrigFlow(0.5), table]
    for i, j in itertools.product(range(len(each)), repeat=2):
        assert (jax.tree.structure(each[i]) == jax.tree.structure(each[j])) == (i == j)
    assert jax.tree.structure(schedules.TrigFlow(0.5)) == jax.tree.structure(schedules.TrigFlow(0.5))


@pytest.mark.parametrize('betas', [[0.0, 0.1], [1.1], [[0.1]], [-0.1], [np.nan]])
def test_bad_betas_are_refused(betas):
    with pytest.raises(ValueError, match='betas must be'):
        schedules.DiscreteVP(np.array(betas))
