"""Average velocities, and the flow map and the denoiser that they hold, for Gaussian data in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import precond, samplers, schedules, times
from tests.oracles import GAUSSIAN as DATA

FLOW = schedules.RectifiedFlow()
SCHEDULES = {'flow': FLOW, 'cosine': schedules.CosineVP(), 'trig': schedules.TrigFlow(0.5), 'VE': schedules.VE()}


def average(x, t, s, mean=DATA.mean):
    """(x - x_s) / (t - s) with x_s = m_s + sqrt(v_s / v_t) (x - m_t) and m_t = (1 - t) mean, v_t = (1 - t)^2 var + t^2.

    m_t - m_s = -(t - s) mean and v_t - v_s = (t - s) ((t + s) (var + 1) - 2 var), so that t - s cancels beforehand and
    the limit at s = t is the instantaneous velocity.
    """
    t, s = t[:, None], s[:, None]
    v_t, v_s = (((1 - time) ** 2 * DATA.var + time**2) for time in (t, s))
    slope = ((t + s) * (DATA.var + 1) - 2 * DATA.var) / (v_t + jnp.sqrt(v_t * v_s))
    return -mean + slope * (x - (1 - t) * mean)


def exact(params=None, cond=None, key=None):
    return average


def test_the_oracle_itself(x64):
    """Against the ODE's map by quantiles, and at s = t against E[eps - x_0 | x_t]."""
    x, t = jnp.array([[0.7], [-1.2], [0.3]]), jnp.array([1.0, 0.6, 0.3])
    s = jnp.array([0.0, 0.2, 0.3])
    x_s = precond.flow_map(exact)(None)(x, t, s)
    T, S = np.asarray(t)[:, None], np.asarray(s)[:, None]
    np.testing.assert_allclose(x_s, DATA.pf_ode(np.asarray(x), (1 - T, T), (1 - S, S)), rtol=1e-12)
    x_0 = DATA.denoise(np.asarray(x), 1 - T, T)
    np.testing.assert_allclose(average(x, t, t), (x - (1 - T) * x_0) / T - x_0, rtol=1e-12)


@pytest.mark.parametrize('grid', [times.uniform(1), times.uniform(5), np.array([1.0, 0.93, 0.4, 0.01, 0.0])])
def test_jumps_are_exact_on_any_grid(grid, x64):
    x = jnp.array([[0.7], [-1.2]])
    out = samplers.sample(samplers.jump(precond.flow_map(exact)(None)), jax.random.key(0), x, grid)
    np.testing.assert_allclose(out, DATA.pf_ode(np.asarray(x), (0.0, 1.0), (1.0, 0.0)), rtol=1e-12)


def test_jumps_go_up_as_well(x64):
    """The map encodes: from clean data to noise and back."""
    x, zero, one = jnp.array([[0.7], [-1.2]]), jnp.zeros(2), jnp.ones(2)
    f = precond.flow_map(exact)(None)
    np.testing.assert_allclose(f(f(x, zero, one), one, zero), x, rtol=1e-12)


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_denoiser_inside(name, x64):
    """D is E[x_0 | x_t] where u(x, t, t) is E[alpha' x_0 + sigma' eps | x_t], at both ends too."""
    schedule = SCHEDULES[name]
    t_max = {'trig': np.pi / 2, 'VE': 80.0}.get(name, 1.0)
    t = jnp.array([0.0, 0.01, 0.4 * t_max, t_max])
    x = jnp.array([[0.7], [-1.2], [0.3], [1.5]])
    a, s = np.asarray(schedule.alpha(t))[:, None], np.asarray(schedule.sigma(t))[:, None]
    d_a, d_s = (np.asarray(r)[:, None] for r in schedules.rates(schedule, t))
    want = DATA.denoise(np.asarray(x), a, s)
    # At clean data eps is independent of x_t: its mean is 0.
    eps = np.divide(x - a * want, s, out=np.zeros_like(s), where=s > 0)
    u = precond.instantaneous(lambda *_: lambda x, t, s: jnp.asarray(d_a * want + d_s * eps), schedule)
    np.testing.assert_allclose(u(None)(x, t), want, rtol=1e-12, atol=1e-14)


def test_the_denoiser_of_the_exact_map(x64):
    t, x = jnp.array([0.0, 0.3, 1.0]), jnp.array([[0.7], [-1.2], [0.3]])
    T = np.asarray(t)[:, None]
    D = precond.instantaneous(exact, FLOW)(None)
    np.testing.assert_allclose(D(x, t), DATA.denoise(np.asarray(x), 1 - T, T), rtol=1e-12)


def test_what_the_network_sees():
    seen = {}

    def net(params, x, c_noise, cond, key):
        seen.update(params=params, x=x, c_noise=c_noise, cond=cond, key=key)
        return 3 * x

    x, t, s = jnp.full((2, 3), 4.0), jnp.array([1.0, 0.5]), jnp.array([0.25, 0.5])
    u = precond.average_velocity(net, 10.0)('params', 'cond', 'key')
    np.testing.assert_array_equal(u(x, t, s), 3 * x)
    np.testing.assert_allclose(seen['c_noise'], [[10.0, 7.5], [5.0, 0.0]])
    np.testing.assert_array_equal(seen['x'], x)
    assert (seen['params'], seen['cond'], seen['key']) == ('params', 'cond', 'key')
    precond.average_velocity(net)('params')(x, t, s)
    np.testing.assert_allclose(seen['c_noise'], [[1.0, 0.75], [0.5, 0.0]])
    x_s = precond.flow_map(precond.average_velocity(net))('params', 'cond', 'key')(x, t, s)
    np.testing.assert_allclose(x_s, [[4 - 0.75 * 12] * 3, [4.0] * 3])
    assert (seen['params'], seen['cond'], seen['key']) == ('params', 'cond', 'key')
    precond.instantaneous(precond.average_velocity(net), FLOW)('params', 'cond', 'key')(x, t)
    assert (seen['params'], seen['cond'], seen['key']) == ('params', 'cond', 'key')
    np.testing.assert_allclose(seen['c_noise'], [[1.0, 0.0], [0.5, 0.0]])
