"""The three equations of a flow map, each as two sides that are equal at the map of dx/dt = v(x, t) and at no other.

X(x_t, t, s) carries x_t along the ODE from time t to time s; X(x, t, t) = x. In all of t and s it is the solution of

    Lagrangian   d/ds X(x, t, s) = v(X(x, t, s), s)              follow the point that arrives
    Eulerian     d/dt X(x, t, s) + v(x, t) . grad X(x, t, s) = 0   where one starts along a path does not matter
    semigroup    X(x, t, s) = X(X(x, t, m), m, s)                  two jumps are one

(arXiv 2406.07507; arXiv 2505.18825 writes X_{s,t} for a map from s to t). Networks learn the average velocity u of
X = x - (t - s) u, and every equation divided by what t - s there is in it says what u must be; at s = t it is v itself:

    Lagrangian   u - (t - s) du/ds = v(X, s)
    Eulerian     u + (t - s) (du/dt + v . grad u) = v
    semigroup    (t - s) u = (t - m) u(x, t, m) + (m - s) u(X(x, t, m), m, s)

A method is one of these, with somebody's v, with a side through which no gradient goes, and with a weight: see
docs/flow_maps.md.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.types import AverageVelocity, Denoiser, VectorField


class Lagrangian(NamedTuple):
    """Where a jump arrives, and how its average velocity changes with that time."""

    x_s: Float[Array, 'b ...']
    u: Float[Array, 'b ...']
    du_ds: Float[Array, 'b ...']


def lagrangian(
    u: AverageVelocity, x_t: Float[Array, 'b ...'], t: Float[Array, ' b'], s: Float[Array, ' b']
) -> Lagrangian:
    """The jump from t to s and its derivative in s: one evaluation with one tangent, and no derivative in space."""
    u_s, du_ds = jax.jvp(lambda s: u(x_t, t, s), (s,), (jnp.ones_like(s),))
    return Lagrangian(x_t - per_sample(t - s, x_t) * u_s, u_s, du_ds)


def arrival_velocity(jump: Lagrangian, t: Float[Array, ' b'], s: Float[Array, ' b']) -> Float[Array, 'b ...']:
    """d/ds X(x_t, t, s) = u - (t - s) du/ds, which is v(x_s, s) at the exact map."""
    return jump.u - per_sample(t - s, jump.u) * jump.du_ds


def along_the_flow(
    f: Denoiser, x_t: Float[Array, 'b ...'], t: Float[Array, ' b'], dx: Float[Array, 'b ...'], dt: Float[Array, ' b']
) -> tuple[Float[Array, 'b ...'], Float[Array, 'b ...']]:
    """f(x_t, t) and its change df/dt + v . grad f as the start moves by (dx, dt): (v, 1) for the derivative itself.

    Zero at a flow map's exact f(x, t) = X(x, t, s), whichever the s: the Eulerian equation.
    """
    return jax.jvp(f, (x_t, t), (dx, dt))


def departure_velocity(
    u: AverageVelocity,
    x_t: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    s: Float[Array, ' b'],
    v: Float[Array, 'b ...'],
) -> tuple[Float[Array, 'b ...'], Float[Array, 'b ...']]:
    """The average velocity u and its du/dt + v . grad u, of which u + (t - s) du/dt is v(x_t, t) at the exact map."""
    return along_the_flow(lambda x, t: u(x, t, s), x_t, t, v, jnp.ones_like(t))


def two_jumps(
    u: AverageVelocity,
    x_t: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    m: Float[Array, ' b'],
    s: Float[Array, ' b'],
) -> Float[Array, 'b ...']:
    """The average velocity of a jump from t to m and one on to s: u(x_t, t, s) at the exact map. Needs t > s."""
    first = u(x_t, t, m)
    x_m = x_t - per_sample(t - m, x_t) * first
    share = per_sample((t - m) / (t - s), x_t)
    return share * first + (1 - share) * u(x_m, m, s)


def velocity_of(u: AverageVelocity) -> VectorField:
    """The velocity that a flow map holds, v(x, t) = u(x, t, t)."""
    return lambda x, t: u(x, t, t)
