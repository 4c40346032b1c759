"""PNDM: the classical Runge-Kutta and Adams-Bashforth means of eps, carried along by DDIM's step."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import expand_time
from diffusion_jax.drift import ddim_step, ddim_step_eps, is_stiff
from diffusion_jax.samplers.adams_bashforth import WithHistory
from diffusion_jax.samplers.exponential import half_log_snr, no_points, push
from diffusion_jax.schedules import eps_from_x_0
from diffusion_jax.types import Denoiser, Sampler, Schedule

_STIFF = 2.78  # where the classical Runge-Kutta method stops being stable


def pndm(denoise: Denoiser, schedule: Schedule) -> Sampler:
    """F-PNDM (arXiv 2202.09778): three pseudo Runge-Kutta steps of 4 evaluations, then linear multistep ones of 1.

    For grids of equal steps in t, or smooth in their index: the weights are those of equal steps, and the order is 2
    whatever the order of the means. Without signal, on steps that are too long for the means (`drift.is_stiff`, as the
    first from the end of a cosine table is), and where a Runge-Kutta step would evaluate clean data, it is DDIM's step;
    the multistep one goes to clean data as it stands.
    """

    def eps(x, t):
        ts = expand_time(t, x)
        return eps_from_x_0(schedule, x, denoise(x, ts), ts)

    def ddim(x, x_0, e_1, past, t, s):
        return ddim_step(schedule, x, x_0, expand_time(t, x), expand_time(s, x))

    def transfer(x, e, t, s):
        return ddim_step_eps(schedule, x, e, expand_time(t, x), expand_time(s, x))

    def runge_kutta(x, x_0, e_1, past, t, s):
        mid = (t + s) / 2
        e_2 = eps(transfer(x, e_1, t, mid), mid)
        e_3 = eps(transfer(x, e_2, t, mid), mid)
        e_4 = eps(transfer(x, e_3, t, s), s)
        return transfer(x, (e_1 + 2 * e_2 + 2 * e_3 + e_4) / 6, t, s)

    def linear_multistep(x, x_0, e_1, past, t, s):
        return transfer(x, (55 * e_1 - 59 * past[0] + 37 * past[1] - 9 * past[2]) / 24, t, s)

    def step(key, state, t, s):
        del key
        x, past, ts = state.x, state.past, expand_time(t, state.x)
        x_0 = denoise(x, ts)
        e_1 = eps_from_x_0(schedule, x, x_0, ts)
        warm = jnp.isfinite(past.lam).all()
        no_start = is_stiff(schedule, t, s, _STIFF) | ~warm & (schedule.sigma(s) == 0)
        branch = jnp.where(no_start, 0, jnp.where(warm, 2, 1))
        x_s = jax.lax.switch(branch, (ddim, runge_kutta, linear_multistep), x, x_0, e_1, past.values, t, s)
        return WithHistory(x_s, push(past, e_1, half_log_snr(schedule, t)))

    return Sampler(lambda x: WithHistory(x, no_points(x, 3)), step, order=2, least_steps=4)
