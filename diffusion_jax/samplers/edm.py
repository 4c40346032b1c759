"""Euler and Heun on the probability-flow ODE, for any schedule (arXiv 2206.00364, algorithm 1), and EDM's churn.

Scaled to x / alpha every Gaussian path is the VE path with noise level sigma / alpha, whose ODE is
d(x / alpha) = eps d(sigma / alpha). Scaled to x / sigma it is d(x / sigma) = x_0 d(alpha / sigma), which stays finite
where alpha = 0.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from diffusion_jax.samplers.ancestral import OneStep, per_batch
from diffusion_jax.samplers.consistency import jump
from diffusion_jax.samplers.loop import noise
from diffusion_jax.schedules import VE, eps_from_x_0, per_sample
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

    return Sampler(OneStep, step, order=2)


def edm_churn(
    denoise: Denoiser,
    schedule: Schedule,
    n: int,
    S_churn: float = 30.0,
    S_min: float = 0.01,
    S_max: float = 1.0,
    S_noise: float = 1.007,
) -> Sampler:
    """EDM's stochastic sampler (arXiv 2206.00364, algorithm 2): noise is added up to t + gamma t, then Heun from there.

    Args:
        denoise: the model.
        schedule: `VE`; on others the noisier time t_hat has no closed form.
        n: the number of steps of the grid it will run on, over which the noise is spread.
        S_churn: how much noise: gamma = min(S_churn / n, sqrt(2) - 1). With 0 this is `heun`.
        S_min: no noise is added at t < S_min;
        S_max: nor at t > S_max.
        S_noise: standard deviation of the noise. The defaults are the paper's for its VP model on CIFAR-10 (table 5).
    """
    if not isinstance(schedule, VE):
        raise ValueError(f'edm_churn is for the VE schedule, t = sigma; got {schedule}')
    if n < 1 or S_churn < 0:
        raise ValueError(f'n must be at least 1 and S_churn not negative; got {n} and {S_churn}')
    solver = heun(denoise, schedule)

    def step(key, state, t, s):
        gamma = jnp.where((S_min <= t) & (t <= S_max), min(S_churn / n, math.sqrt(2) - 1), 0.0)
        # sqrt(t_hat^2 - t^2), which where gamma = 0 compiled code may round to the root of a negative number
        std = t * jnp.sqrt(gamma * (2 + gamma))
        x_hat = state.x + std * S_noise * noise(key, state.x)
        return solver.step(key, OneStep(x_hat), t + gamma * t, s)

    return Sampler(OneStep, step, solver.order)


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


def without_signal(schedule: Schedule, t: Float[Array, '*b']) -> Bool[Array, '*b']:
    """Whether x / alpha has lost half of its digits at t, as where cos(pi / 2) should be 0 and is not."""
    return schedule.alpha(t) < jnp.sqrt(jnp.finfo(t.dtype).eps) * schedule.sigma(t)
