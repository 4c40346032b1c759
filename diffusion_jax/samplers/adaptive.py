"""The probability-flow ODE with adaptive steps, as a reference for all others."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import expand_time
from diffusion_jax.ode import angle, angular_velocity, solve, time_at
from diffusion_jax.ranges import within
from diffusion_jax.samplers.ancestral import Memoryless
from diffusion_jax.types import Denoiser, Sampler, Schedule


def adaptive(
    denoise: Denoiser, schedule: Schedule, rtol: float = 1e-5, atol: float = 1e-5, sigma_min: float = 1e-3
) -> Sampler:
    """One step solves the ODE from t to s to a tolerance: the grid `[t_max, 0]`, `times.at(t_max)`, is a whole run.

    It runs upwards as well, on a reversed grid, to encode. Every sample has its own steps (see `diffusion_jax.ode`).

    Args:
        denoise: the model.
        schedule: its schedule.
        rtol: relative tolerance of the solver, in (0, inf).
        atol: absolute tolerance, in (0, inf), for x / sqrt(alpha^2 + sigma^2).
        sigma_min: in (0, inf), noise-to-signal ratio sigma / alpha below which the path is not followed: from there to
            clean data the step is D itself, with an error of order sigma_min^2.

    Raises:
        ValueError: for an argument outside of its range.
    """
    within('(0, inf)', rtol=rtol, atol=atol, sigma_min=sigma_min)

    def step(key, state, t, s):
        del key
        x = state.x
        nearest = jnp.arctan(jnp.asarray(sigma_min, x.dtype))
        top = jnp.maximum(t, s)
        start, end = (jnp.maximum(angle(schedule, u), nearest) for u in (t, s))
        z, _ = solve(angular_velocity(denoise, schedule, top), x / _norm(schedule, t), start, end, rtol, atol)
        return Memoryless(jax.lax.cond(schedule.sigma(s) == 0, clean, lambda z, _: _norm(schedule, s) * z, z, top))

    def clean(z, top):
        nearest = time_at(schedule, jnp.arctan(jnp.asarray(sigma_min, z.dtype)), top)
        return denoise(_norm(schedule, nearest) * z, expand_time(nearest, z))

    return Sampler(Memoryless, step)


def _norm(schedule, t):
    return jnp.hypot(schedule.alpha(t), schedule.sigma(t))
