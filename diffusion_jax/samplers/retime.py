"""A model asked about other times than those at which its solver stands."""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.ranges import within
from diffusion_jax.types import Schedule

T = TypeVar('T')  # of a denoiser, or of one with a variance


def retimed(
    denoise: Callable[[Array, Array], T], schedule: Schedule, times: Float[Array, ' n'], model_times: Float[Array, ' n']
) -> Callable[[Array, Array], T]:
    """The denoiser (x, t) -> D(alpha(tau) / alpha(t) x, tau), where tau is `model_times[i]` at t = `times[i]`.

    A solver of few steps ends elsewhere if its network is told another time than that of x, and for the better if that
    time is chosen well (arXiv 2310.09469). Here x / alpha stays as it is, so that the same noise levels give the same
    map on every schedule. Between the times, log tau - log t is interpolated.

    Args:
        denoise: or the same with a variance.
        schedule: of the model; where alpha(t) = 0 there is nothing to choose, and tau is t.
        times: of the solver, in (0, inf) and descending.
        model_times: in (0, inf), one for each of the times.

    Raises:
        ValueError: for other times.
    """
    within('(0, inf)', times=times, model_times=model_times)
    log_t, shift = jnp.log(times)[::-1], (jnp.log(model_times) - jnp.log(times))[::-1]

    def asked(x, t):
        has_signal = schedule.alpha(t) > 0
        tau = jnp.where(has_signal, t * jnp.exp(jnp.interp(jnp.log(t), log_t, shift)), t)
        ratio = jnp.where(has_signal, schedule.alpha(tau) / jnp.where(has_signal, schedule.alpha(t), 1), 1)
        return denoise(per_sample(ratio, x) * x, tau)

    return asked
