"""Euler and Heun on the probability-flow ODE, for any schedule (arXiv 2206.00364, algorithm 1).

Scaled to x / alpha every Gaussian path is the VE path with noise level sigma / alpha, whose ODE is
d(x / alpha) = eps d(sigma / alpha). Scaled to x / sigma it is d(x / sigma) = x_0 d(alpha / sigma), which stays finite
where alpha = 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from diffusion_jax.samplers.ancestral import OneStep, per_batch
from diffusion_jax.samplers.consistency import jump
from diffusion_jax.schedules import eps_from_x_0, per_sample
from diffusion_jax.types import Denoiser, FlowMap, Sampler, Schedule


def euler(denoise: Denoiser, schedule: Schedule) -> Sampler:
    """Euler's method in x / alpha, one evaluation per step; `ddim(eta=0)` by another way (arXiv 2010.02502, eq. 14)."""
    return jump(euler_step(denoise, schedule))


def heun(denoise: Denoiser, schedule: Schedule) -> Sampler:
    """Heun's method in x / alpha, EDM's deterministic sampler: 2 S - 1 evaluations, as the last step is Euler's."""
    one, two = euler_step(denoise, schedule), heun_step(denoise, schedule)

    def step(key, state, t, s):
        del key
        ts = per_batch(t, state.x), per_batch(s, state.x)
        return OneStep(jax.lax.cond(schedule.sigma(s) == 0, one, two, state.x, *ts))

    return Sampler(OneStep, step)


def euler_step(denoise: Denoiser, schedule: Schedule) -> FlowMap:
    """One Euler step (x_t, t, s) -> x_s; needs sigma(t) > 0."""

    def x_s(x, t, s):
        x_0 = denoise(x, t)
        return along_data(schedule, x, x_0, t, s)

    return x_s


def heun_step(denoise: Denoiser, schedule: Schedule) -> FlowMap:
    """One Heun step (x_t, t, s) -> x_s, Euler's where sigma(s) = 0; needs sigma(t) > 0."""

    def x_s(x, t, s):
        x_0 = denoise(x, t)
        euler = along_data(schedule, x, x_0, t, s)
        # Clean data hold no eps: the evaluation there is thrown away, but it must not be NaN.
        last = schedule.sigma(s) == 0
        u = jnp.where(last, t, s)
        x_0_new = denoise(euler, u)
        eps = (eps_from_x_0(schedule, x, x_0, t) + eps_from_x_0(schedule, euler, x_0_new, u)) / 2
        heun = jnp.where(
            per_sample(without_signal(schedule, t), x),
            along_data(schedule, x, (x_0 + x_0_new) / 2, t, s),
            along_noise(schedule, x, eps, t, s),
        )
        return jnp.where(per_sample(last, x), euler, heun)

    return x_s


def along_data(
    schedule: Schedule,
    x: Float[Array, 'b ...'],
    x_0: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    s: Float[Array, ' b'],
) -> Float[Array, 'b ...']:
    """The ODE solved for constant x_0: x_s / sigma_s = x_t / sigma_t + (alpha_s / sigma_s - alpha_t / sigma_t) x_0."""
    ratio = schedule.sigma(s) / schedule.sigma(t)
    return per_sample(ratio, x) * x + per_sample(schedule.alpha(s) - ratio * schedule.alpha(t), x) * x_0


def along_noise(
    schedule: Schedule,
    x: Float[Array, 'b ...'],
    eps: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    s: Float[Array, ' b'],
) -> Float[Array, 'b ...']:
    """The ODE solved for constant eps: x_s / alpha_s = x_t / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) eps."""
    # The result without signal is thrown away, but it must not be NaN.
    ratio = schedule.alpha(s) / jnp.where(without_signal(schedule, t), 1, schedule.alpha(t))
    return per_sample(ratio, x) * x + per_sample(schedule.sigma(s) - ratio * schedule.sigma(t), x) * eps


def without_signal(schedule: Schedule, t: Float[Array, ' b']) -> Bool[Array, ' b']:
    """Whether x / alpha has lost half of its digits at t, as where cos(pi / 2) should be 0 and is not."""
    return schedule.alpha(t) < jnp.sqrt(jnp.finfo(t.dtype).eps) * schedule.sigma(t)
