"""Multistep solvers: exponential Adams-Bashforth in x_0 (DPM-Solver++) and in eps (DEIS), with one evaluation per step.

They start with one point and use one more with every step, so the first steps are of lower order; so is the step to
clean data. All step sizes may differ.
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from diffusion_jax.axes import expand_time
from diffusion_jax.ranges import whole
from diffusion_jax.samplers import exponential
from diffusion_jax.samplers.exponential import DATA, NOISE, Points, exponential_step, half_log_snr, no_points, push
from diffusion_jax.types import Denoiser, Sampler, Schedule


class WithHistory(NamedTuple):
    """State of a multistep solver."""

    x: Float[Array, 'b ...']
    past: Points  # the last first


def dpm_solver_pp(denoise: Denoiser, schedule: Schedule, order: int = 2) -> Sampler:
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2) and (3M): a polynomial in x_0; `order=1` is DDIM.

    The 3M of diffusers takes half of the second divided difference, which leaves it of order 2. Here it is of order 3.

    Raises:
        ValueError: order is not in [1, 3].
    """
    whole('[1, 3]', order=order)
    return _adams_bashforth(DATA, denoise, schedule, order, exponential.bh2)


def deis(denoise: Denoiser, schedule: Schedule, order: int = 3) -> Sampler:
    """DEIS (arXiv 2204.13902): a polynomial in eps, integrated exactly; `order=1` is DDIM.

    The paper's AB-DEIS takes polynomials in t or in rho = sigma / alpha. These are in log rho, as in diffusers: unlike
    in t, the weights do not depend on how a schedule counts its time; unlike rho, log rho moves by similar steps at
    all noise levels.

    Raises:
        ValueError: order is not in [1, 4].
    """
    whole('[1, 4]', order=order)
    return _adams_bashforth(NOISE, denoise, schedule, order)


def _adams_bashforth(form, denoise, schedule, order, B=None):
    def init(x):
        return WithHistory(x, no_points(x, order - 1))

    def step(key, state, t, s):
        del key
        x, ts = state.x, expand_time(t, state.x)
        x_0 = denoise(x, ts)
        past = push(state.past, form.output(schedule, x, x_0, ts), half_log_snr(schedule, t))
        return WithHistory(exponential_step(form, schedule, x, x_0, state.past, t, s, B), past)

    return Sampler(init, step, order, least_steps=order)
