"""The three equations at the exact flow map of Gaussian data, and beside it, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import flow_maps
from tests.oracles import GAUSSIAN as DATA
from tests.test_flow_map import average


def points():
    """Float64, which they can be within a test alone."""
    x = jnp.array([[0.7, 0.1], [-1.2, 0.4], [0.3, -0.5], [0.1, 0.2]])
    return x, jnp.array([1.0, 0.9, 0.6, 0.5]), jnp.array([0.2, 0.3, 0.5, 0.5])


def velocity(x, t):
    """E[eps - x_0 | x_t] on rectified flow."""
    x_0 = DATA.denoise(x, 1 - t[:, None], t[:, None])
    return (x - (1 - t[:, None]) * x_0) / t[:, None] - x_0


def off(x, t, s):
    """A smooth average velocity that is not the exact one, with the exact one's velocity at s = t."""
    return average(x, t, s) + 0.1 * (t - s)[:, None] * jnp.sin(3 * x + s[:, None])


def residuals(u):
    X, T, S = points()
    jump = flow_maps.lagrangian(u, X, T, S)
    u_t, du_dt = flow_maps.departure_velocity(u, X, T, S, velocity(X, T))
    gap = (T - S)[:, None]
    apart = T > S
    return {
        'lagrangian': flow_maps.arrival_velocity(jump, T, S) - velocity(jump.x_s, S),
        'eulerian': u_t + gap * du_dt - velocity(X, T),
        'semigroup': (u(X, T, S) - flow_maps.two_jumps(u, X, T, S + 0.3 * (T - S), S))[apart],
    }


@pytest.mark.parametrize('name', ['lagrangian', 'eulerian', 'semigroup'])
def test_the_exact_map_obeys_and_another_does_not(name, x64):
    np.testing.assert_allclose(residuals(average)[name], 0, atol=1e-14)
    assert np.abs(residuals(off)[name][:3]).min(1).max() > 1e-3


def test_they_are_the_derivatives_of_the_map_itself(x64):
    """Against differences of X = x - (t - s) u of fourth order, on a map that obeys no equation."""
    X, T, S = points()
    h = 1e-3

    def slope(f):
        return (f(-2 * h) - 8 * f(-h) + 8 * f(h) - f(2 * h)) / (12 * h)

    def jump_to(x, t, s):
        return x - (t - s)[:, None] * off(x, t, s)

    jump = flow_maps.lagrangian(off, X, T, S)
    np.testing.assert_allclose(jump.x_s, jump_to(X, T, S), rtol=1e-14)
    np.testing.assert_allclose(
        flow_maps.arrival_velocity(jump, T, S), slope(lambda d: jump_to(X, T, S + d)), rtol=1e-8, atol=1e-9
    )
    v = velocity(X, T)
    u, du_dt = flow_maps.departure_velocity(off, X, T, S, v)
    along = slope(lambda d: jump_to(X + d * v, T + d, S))
    np.testing.assert_allclose(v - u - (T - S)[:, None] * du_dt, along, rtol=1e-8, atol=1e-9)
    f, change = flow_maps.along_the_flow(lambda x, t: jump_to(x, t, S), X, T, 2 * v, 2 * jnp.ones_like(T))
    np.testing.assert_allclose(f, jump_to(X, T, S), rtol=1e-14)
    np.testing.assert_allclose(change, 2 * along, rtol=1e-8, atol=1e-9)


def test_two_jumps_arrive_where_two_jumps_arrive(x64):
    X, T, S = points()
    t, m, s = T[:3], jnp.array([0.5, 0.7, 0.55]), S[:3]
    x = X[:3]
    x_m = x - (t - m)[:, None] * off(x, t, m)
    x_s = x_m - (m - s)[:, None] * off(x_m, m, s)
    np.testing.assert_allclose(x - (t - s)[:, None] * flow_maps.two_jumps(off, x, t, m, s), x_s, rtol=1e-13)


def test_the_velocity_that_a_map_holds(x64):
    X, T, _ = points()
    np.testing.assert_allclose(flow_maps.velocity_of(average)(X, T), velocity(X, T), rtol=1e-12)
    assert jnp.isfinite(jax.grad(lambda x: flow_maps.velocity_of(off)(x, T).sum())(X)).all()
