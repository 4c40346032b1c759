"""Singlestep DPM-Solver and DPM-Solver++: a step of order p has p evaluations, p - 1 of them within the step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import expand_time
from diffusion_jax.drift import ddim_step
from diffusion_jax.ranges import whole
from diffusion_jax.samplers.ancestral import Memoryless
from diffusion_jax.samplers.exponential import DATA, NOISE, Points, bh2, exponential_step, half_log_snr, is_finite
from diffusion_jax.types import Denoiser, Sampler, Schedule


def dpm_solver(denoise: Denoiser, schedule: Schedule, order: int = 2) -> Sampler:
    """DPM-Solver-1, -2 and -3 (arXiv 2206.00927, algorithms 1 and 2): a polynomial in eps; `order=1` is DDIM.

    Raises:
        ValueError: order is not in [1, 3].
    """
    whole('[1, 3]', order=order)
    return _singlestep(NOISE, denoise, schedule, order)


def dpm_solver_pp_single(denoise: Denoiser, schedule: Schedule, order: int = 2) -> Sampler:
    """DPM-Solver++(2S) (arXiv 2211.01095, algorithm 1), 1S (DDIM) and, as in the released code, 3S: the same in x_0.

    Raises:
        ValueError: order is not in [1, 3].
    """
    whole('[1, 3]', order=order)
    return _singlestep(DATA, denoise, schedule, order)


def _singlestep(form, denoise, schedule, order):
    def point(x, t):
        ts = expand_time(t, x)
        value = form.output(schedule, x, denoise(x, ts), ts)
        return Points(value[None], half_log_snr(schedule, t)[None])

    def one(x, x_0, t, s):
        return ddim_step(schedule, x, x_0, expand_time(t, x), expand_time(s, x))

    def two(x, x_0, t, s):
        u = between(schedule, t, s, 1 / 2)
        return exponential_step(form, schedule, x, x_0, point(one(x, x_0, t, u), u), t, s, bh2)

    def three(x, x_0, t, s):
        u, v = between(schedule, t, s, 1 / 3), between(schedule, t, s, 2 / 3)
        x_v = exponential_step(form, schedule, x, x_0, point(one(x, x_0, t, u), u), t, v)
        return exponential_step(form, schedule, x, x_0, point(x_v, v), t, s)

    full = (one, two, three)[order - 1]

    def step(key, state, t, s):
        del key
        x_0 = denoise(state.x, expand_time(t, state.x))
        return Memoryless(jax.lax.cond(is_finite(schedule, t, s), full, one, state.x, x_0, t, s))

    return Sampler(Memoryless, step, order)


def between(schedule: Schedule, t: Float[Array, ''], s: Float[Array, ''], r: float) -> Float[Array, '']:
    """The time at lambda_t + r h, by bisection to the last digits: a schedule need not know its inverse."""
    target = (1 - r) * half_log_snr(schedule, t) + r * half_log_snr(schedule, s)

    def halve(_, ends):
        noisier, cleaner = ends
        mid = (noisier + cleaner) / 2
        below = half_log_snr(schedule, mid) < target
        return jnp.where(below, mid, noisier), jnp.where(below, cleaner, mid)

    noisier, cleaner = jax.lax.fori_loop(0, jnp.finfo(t.dtype).nmant, halve, (t, s))
    return (noisier + cleaner) / 2
