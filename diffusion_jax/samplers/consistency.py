"""Samplers of maps that jump: consistency functions (x_t, t) -> x_0 and flow maps (x_t, t, s) -> x_s."""

from diffusion_jax.axes import expand_time
from diffusion_jax.samplers.ancestral import Memoryless
from diffusion_jax.samplers.loop import noise
from diffusion_jax.types import Denoiser, FlowMap, Sampler, Schedule


def renoise(consistency: Denoiser, schedule: Schedule) -> Sampler:
    """WithHistory consistency sampling (arXiv 2303.01469, algorithm 1): x_s = alpha_s f(x_t, t) + sigma_s eps.

    The grid `[t_max, 0]` is one-step sampling; no noise is added in the step to s = 0.
    """

    def step(key, state, t, s):
        x_0 = consistency(state.x, expand_time(t, state.x))
        return Memoryless(schedule.alpha(s) * x_0 + schedule.sigma(s) * noise(key, state.x))

    return Sampler(Memoryless, step)


def jump(flow_map: FlowMap) -> Sampler:
    """Deterministic sampling with a flow map: x_s is the map's own."""

    def step(key, state, t, s):
        del key
        return Memoryless(flow_map(state.x, expand_time(t, state.x), expand_time(s, state.x)))

    return Sampler(Memoryless, step)
