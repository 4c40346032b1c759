"""The equations of flow maps as regressions: what learns, and what it is to equal, both velocities; see `flow_maps`."""

from collections.abc import Callable
from typing import NamedTuple

from diffusion_jax import flow_maps
from diffusion_jax.axes import per_sample
from diffusion_jax.ranges import within
from diffusion_jax.types import Array, AverageVelocity, VectorField

__all__ = ['eulerian', 'lagrangian', 'semigroup']


class Sides(NamedTuple):
    """Two sides of an equation; their difference is its residual, in the units of a velocity."""

    learns: Array  # [B, ...], u(x_t, t, t) where s = t
    target: Array  # [B, ...], to be behind a stop-gradient; of no meaning where s = t


# (u, u of the target's parameters, v, x_t [B, ...], t [B], s [B]) -> Sides
Equation = Callable[[AverageVelocity, AverageVelocity, VectorField, Array, Array, Array], Sides]


def lagrangian(through: bool = True) -> Equation:
    """d/ds X(x_t, t, s) = v(X(x_t, t, s), s) (arXiv 2406.07507; 2505.18825: LSD; 2511.19797: terminal velocity).

    v is asked about points that the model itself has made: it must be a function, not a sample's own velocity.

    Args:
        through: whether the gradient goes through du/ds. Without, u alone learns, which costs half as much.
    """

    def sides(u, u_target, v, x_t, t, s):
        del u_target
        jump = flow_maps.lagrangian(u, x_t, t, s)
        if through:
            return Sides(flow_maps.arrival_velocity(jump, t, s), v(jump.x_s, s))
        return Sides(jump.u, v(jump.x_s, s) + per_sample(t - s, x_t) * jump.du_ds)

    return sides


def eulerian(through: bool = False) -> Equation:
    """D/dt X(x_t, t, s) = 0, that is u + (t - s) du/dt = v(x_t, t) (arXiv 2505.13447, eq. 6; 2505.18825: ESD).

    v enters linearly, so that a sample's own velocity, right on average, does as well as the flow's.

    Args:
        through: whether the gradient goes through du/dt, and so through derivatives in space.
    """

    def sides(u, u_target, v, x_t, t, s):
        del u_target
        v_t = v(x_t, t)
        u_s, du_dt = flow_maps.departure_velocity(u, x_t, t, s, v_t)
        gap = per_sample(t - s, x_t)
        return Sides(u_s + gap * du_dt, v_t) if through else Sides(u_s, v_t - gap * du_dt)

    return sides


def semigroup(at: float = 0.5) -> Equation:
    """X(x_t, t, s) = X(X(x_t, t, m), m, s) with m = t - at (t - s) (arXiv 2410.12557; 2505.18825: PSD).

    v is not asked: what a flow map is at short steps it must learn where s = t.

    Args:
        at: where on the way the second jump begins, in (0, 1).
    """
    within('(0, 1)', at=at)

    def sides(u, u_target, v, x_t, t, s):
        del v
        return Sides(u(x_t, t, s), flow_maps.two_jumps(u_target, x_t, t, t - at * (t - s), s))

    return sides
