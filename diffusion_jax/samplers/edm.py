"""Euler and Heun on the probability-flow ODE, for any schedule (arXiv 2206.00364, algorithm 1), and EDM's churn.

Scaled to x / alpha every Gaussian path is the VE path with noise level sigma / alpha, whose ODE is
d(x / alpha) = eps d(sigma / alpha). Scaled to x / sigma it is d(x / sigma) = x_0 d(alpha / sigma), which stays finite
where alpha = 0.
"""

import math

import jax
import jax.numpy as jnp

from diffusion_jax.axes import expand_time, per_sample
from diffusion_jax.drift import ddim_step, ddim_step_eps, is_stiff
from diffusion_jax.ranges import whole, within
from diffusion_jax.samplers.ancestral import Memoryless
from diffusion_jax.samplers.consistency import jump
from diffusion_jax.samplers.loop import noise
from diffusion_jax.schedules import VE, eps_from_x_0
from diffusion_jax.types import Denoiser, FlowMap, Sampler, Schedule

_STIFF = 100.0  # a step from L = 80 has 80 at most


def euler(denoise: Denoiser, schedule: Schedule) -> Sampler:
    """Euler's method in x / alpha, one evaluation per step; `ddim(eta=0)` by another way (arXiv 2010.02502, eq. 14)."""
    return jump(euler_step(denoise, schedule))


def heun(denoise: Denoiser, schedule: Schedule) -> Sampler:
    """Heun's method in x / alpha, EDM's deterministic sampler: 2 S - 1 evaluations, as the last step is Euler's.

    From L = sigma / alpha = 80 it takes 8 steps or more: 4 or fewer end at several times the data's standard deviation,
    in the paper's algorithm as here. Steps that are longer still, from noise above EDM's, are Heun's in x / sigma.
    """
    one, two = euler_step(denoise, schedule), heun_step(denoise, schedule)

    def step(key, state, t, s):
        del key
        ts = expand_time(t, state.x), expand_time(s, state.x)
        return Memoryless(jax.lax.cond(schedule.sigma(s) == 0, one, two, state.x, *ts))

    return Sampler(Memoryless, step, order=2)


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
        n: in [1, inf), the number of steps of the grid it will run on, over which the noise is spread.
        S_churn: in [0, inf), how much noise: gamma = min(S_churn / n, sqrt(2) - 1). With 0 this is `heun`.
        S_min: in [0, inf); no noise is added at t < S_min;
        S_max: in [0, inf]; nor at t > S_max, which is not below S_min.
        S_noise: in [0, inf), standard deviation of the noise. The defaults are the paper's for its VP model on CIFAR-10
            (table 5).

    Raises:
        ValueError: for an argument outside of its range, or another schedule.
    """
    if not isinstance(schedule, VE):
        raise ValueError(f'edm_churn is for the VE schedule, t = sigma; got {schedule}')
    whole('[1, inf)', n=n)
    within('[0, inf)', S_churn=S_churn, S_min=S_min, S_noise=S_noise)
    within('[0, inf]', S_max=S_max)
    if S_max < S_min:
        raise ValueError(f'S_max must not be below S_min; got {S_max} and {S_min}')
    solver = heun(denoise, schedule)

    def step(key, state, t, s):
        gamma = jnp.where((S_min <= t) & (t <= S_max), min(S_churn / n, math.sqrt(2) - 1), 0.0)
        # sqrt(t_hat^2 - t^2), which where gamma = 0 compiled code may round to the root of a negative number
        std = t * jnp.sqrt(gamma * (2 + gamma))
        x_hat = state.x + std * S_noise * noise(key, state.x)
        return solver.step(key, Memoryless(x_hat), t + gamma * t, s)

    return Sampler(Memoryless, step, solver.order)


def euler_step(denoise: Denoiser, schedule: Schedule) -> FlowMap:
    """One Euler step (x_t, t, s) -> x_s; needs sigma(t) > 0."""

    def x_s(x, t, s):
        x_0 = denoise(x, t)
        return ddim_step(schedule, x, x_0, t, s)

    return x_s


def heun_step(denoise: Denoiser, schedule: Schedule) -> FlowMap:
    """One Heun step (x_t, t, s) -> x_s, Euler's where sigma(s) = 0; needs sigma(t) > 0.

    Without signal, and where a step is so stiff in x / alpha (`drift.is_stiff`) that no grid on EDM's range has its
    like, the mean is of x_0 instead of eps: Heun's method in x / sigma, of the same order and not stiff there.
    """

    def x_s(x, t, s):
        x_0 = denoise(x, t)
        euler = ddim_step(schedule, x, x_0, t, s)
        # Clean data hold no eps: the evaluation there is thrown away, but it must not be NaN.
        last = schedule.sigma(s) == 0
        u = jnp.where(last, t, s)
        x_0_new = denoise(euler, u)
        eps = (eps_from_x_0(schedule, x, x_0, t) + eps_from_x_0(schedule, euler, x_0_new, u)) / 2
        heun = jnp.where(
            per_sample(is_stiff(schedule, t, s, _STIFF), x),
            ddim_step(schedule, x, (x_0 + x_0_new) / 2, t, s),
            ddim_step_eps(schedule, x, eps, t, s),
        )
        return jnp.where(per_sample(last, x), euler, heun)

    return x_s
