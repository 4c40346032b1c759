"""Samplers of maps that jump: consistency functions (x_t, t) -> x_0 and flow maps (x_t, t, s) -> x_s."""

import jax.numpy as jnp

from diffusion_jax.axes import expand_time
from diffusion_jax.ranges import within
from diffusion_jax.samplers.ancestral import Memoryless
from diffusion_jax.samplers.loop import noise
from diffusion_jax.types import Denoiser, FlowMap, Sampler, Schedule


def renoise(consistency: Denoiser, schedule: Schedule, sigma_min: float | None = None) -> Sampler:
    """Multistep consistency sampling (arXiv 2303.01469, algorithm 1): x_s = f(x_t, t) + sqrt(s^2 - sigma_min^2) eps.

    So on VE, where s = sigma_s. Elsewhere f(x_t, t) is scaled by alpha_s, and with it the noise that it still holds.
    The grid `[t_max, 0]` is one-step sampling; no noise is added in a step to sigma_min or less.

    Args:
        consistency: f, which maps to data with noise of standard deviation sigma_min.
        schedule: its schedule.
        sigma_min: the paper's epsilon, in [0, inf); that of the schedule by default, and 0 if it has none. A function
            that is the identity at t = 0, such as ECT's, has 0.

    Raises:
        ValueError: sigma_min is outside of its range.
    """
    held = getattr(schedule, 'sigma_min', 0.0) if sigma_min is None else sigma_min
    within('[0, inf)', sigma_min=held)

    def step(key, state, t, s):
        x_0 = consistency(state.x, expand_time(t, state.x))
        alpha, sigma = schedule.alpha(s), schedule.sigma(s)
        std = jnp.sqrt(jnp.maximum((sigma - alpha * held) * (sigma + alpha * held), 0))
        return Memoryless(alpha * x_0 + std * noise(key, state.x))

    return Sampler(Memoryless, step)


def jump(flow_map: FlowMap) -> Sampler:
    """Deterministic sampling with a flow map: x_s is the map's own."""

    def step(key, state, t, s):
        del key
        return Memoryless(flow_map(state.x, expand_time(t, state.x), expand_time(s, state.x)))

    return Sampler(Memoryless, step)
