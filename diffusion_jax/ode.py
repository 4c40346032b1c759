"""The probability-flow ODE in the angle between signal and noise, solved with adaptive steps.

With th = arctan(sigma / alpha) the direction z = x / sqrt(alpha^2 + sigma^2) = cos(th) x_0 + sin(th) eps moves by
dz/dth = -sin(th) x_0 + cos(th) eps = (cos(th) z - x_0) / sin(th). On every schedule the angle goes from 0 (clean data)
to at most pi / 2 (no signal), and nothing becomes infinite at either end, neither of VE nor of rectified flow.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffusion_jax.axes import per_sample
from diffusion_jax.ranges import within
from diffusion_jax.types import Denoiser, Schedule

Field = Callable[[Any, Array], Any]  # (y, a pytree of [B, ...], th [B]) -> dy/dth

_MAX_STEPS = 4096
_FIRST_STEP = 0.01  # of the way; found by the solver itself it would cost two more compiled copies of the network
_BISECTIONS = 60  # more than float64 has digits


def angle(schedule: Schedule, t: Float[Array, '*t']) -> Float[Array, '*t']:
    """The angle th = arctan(sigma / alpha) in [0, pi / 2], increasing in t."""
    return jnp.arctan2(schedule.sigma(t), schedule.alpha(t))


def time_at(schedule: Schedule, th: Float[Array, '*t'], t_max: Float[Array, '']) -> Float[Array, '*t']:
    """The t in [0, t_max] at which the angle is th, by bisection; the nearest end if there is none."""

    def halve(_, bracket):
        low, high = bracket
        mid = (low + high) / 2
        noisier = angle(schedule, mid) > th
        return jnp.where(noisier, low, mid), jnp.where(noisier, mid, high)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (jnp.zeros_like(th), jnp.full_like(th, t_max)))
    return (low + high) / 2


def angular_velocity(denoise: Denoiser, schedule: Schedule, t_max: Float[Array, '']) -> Field:
    """dz/dth as a function `(z [B, ...], th [B])`; needs th > 0."""

    def dz_dth(z, th):
        t = time_at(schedule, th, t_max)
        norm = jnp.hypot(schedule.alpha(t), schedule.sigma(t))
        x_0 = denoise(per_sample(norm, z) * z, t)
        return (per_sample(jnp.cos(th), z) * z - x_0) / per_sample(jnp.sin(th), z)

    return dz_dth


def solve(
    field: Field,
    y: Any,
    th: Float[Array, ''],
    end: Float[Array, ''],
    rtol: float,
    atol: float,
) -> tuple[Any, Int[Array, ' b']]:
    """Carries y from angle th to `end` by Tsit5 with PI step-size control, upwards or downwards.

    Every sample has its own steps, so that it depends on no other sample of its batch; yet each evaluation is one call
    of the field for the whole batch.

    Args:
        field: dy/dth.
        y: a pytree of `[B, ...]`.
        th: where it starts.
        end: where it ends.
        rtol: in (0, inf), relative tolerance of a step's error, the root of its mean square over an array of y, in the
            worst array.
        atol: in (0, inf), absolute tolerance.

    Returns:
        y at the end, and how many steps each sample took, rejected ones included.

    Raises:
        ValueError: for a tolerance outside of its range.
    """
    import diffrax  # half a second to import
    import equinox as eqx

    within('(0, inf)', rtol=rtol, atol=atol)
    controller = diffrax.PIDController(rtol=rtol, atol=atol, pcoeff=0.4, icoeff=0.3, norm=_norm)
    size = jax.tree.leaves(y)[0].shape[0]
    # What the field closes over becomes arguments: a rule of `custom_vmap` may not hold values of an outer `jit`.
    closed = eqx.filter_closure_convert(field, y, jnp.broadcast_to(th, (size,)))
    values, rest = eqx.partition(closed, eqx.is_array)
    term = diffrax.ODETerm(_one_of_a_batch(lambda values, y, th: eqx.combine(values, rest)(y, th)))

    first = _FIRST_STEP * (end - th)

    @jax.vmap
    def one(y):
        solution = diffrax.diffeqsolve(
            term, diffrax.Tsit5(), th, end, first, y, values, stepsize_controller=controller, max_steps=_MAX_STEPS
        )
        return jax.tree.map(lambda a: a[0], solution.ys), solution.stats['num_steps']

    return one(y)


def _norm(y):
    return jnp.max(jnp.stack([jnp.sqrt(jnp.mean(a**2)) for a in jax.tree.leaves(y)]))


def _one_of_a_batch(field):
    """The field as a function of one sample, to be used under `vmap` alone, where it is one call for the whole batch.

    A denoiser may hold a condition `[B]`, so there is no way to ask it about one sample.
    """

    @jax.custom_batching.custom_vmap
    def one(values, y, th):
        del values, th
        return y  # gives shapes alone

    @one.def_vmap
    def batch(size, batched, values, y, th):
        y, th = jax.tree.map(
            lambda a, has_axis: a if has_axis else jnp.broadcast_to(a, (size, *a.shape)), (y, th), tuple(batched[1:])
        )
        return field(values, y, th), jax.tree.map(lambda _: True, y)

    return lambda th, y, values: one(values, y, th)
