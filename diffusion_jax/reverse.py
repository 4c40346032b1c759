"""The reverse process p(x_s | x_t) = N(mean, exp(log_variance)) of DDPM, on any pair of times s < t.

One object for the sampler that draws from it and for the bound that measures it.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.schedules import posterior_mean, posterior_variance, transition
from diffusion_jax.types import Denoiser, DenoiserWithVariance, Schedule

Reverse = Callable[[Array, Array, Array], tuple[Array, Array]]  # (x_t, t, s) -> (mean, log_variance broadcastable to x)
LogVariance = Callable[[Schedule, Array, Array], Array]


def small(schedule: Schedule, t: Float[Array, '*b'], s: Float[Array, '*b']) -> Float[Array, '*b']:
    """Log of beta-tilde, optimal for data at a point (arXiv 2006.11239, section 3.2).

    At s = 0, where beta-tilde is 0, it is the value of the pair (2 t, t): of the step before on a grid of equal steps,
    as in the released code, which is the table itself. On another grid it is not that of its last step but one. Only
    the decoder of the likelihood, whose grid is the table, reads it: samplers add no noise there.
    """
    t_up = jnp.where(s == 0, 2 * t, t)
    s_up = jnp.where(s == 0, t, s)
    return jnp.log(posterior_variance(schedule, t_up, s_up))


def large(schedule: Schedule, t: Float[Array, '*b'], s: Float[Array, '*b']) -> Float[Array, '*b']:
    """Log of beta_t, optimal for standard normal data (arXiv 2006.11239, section 3.2); at s = 0 as `small`."""
    return jnp.where(s == 0, small(schedule, t, s), jnp.log(transition(schedule, t, s)[1]))


def fixed(denoise: Denoiser, schedule: Schedule, log_variance: LogVariance = small) -> Reverse:
    """DDPM's reverse process: the posterior mean at x_0 = D(x_t, t), and a variance that the schedule gives."""

    def p(x_t, t, s):
        mean = posterior_mean(schedule, x_t, denoise(x_t, t), t, s)
        return mean, per_sample(log_variance(schedule, t, s), x_t)

    return p


def learned(denoise: DenoiserWithVariance, schedule: Schedule) -> Reverse:
    """IDDPM's reverse process: v interpolates between log beta_t and log beta-tilde (arXiv 2102.09672, eq. 15)."""

    def p(x_t, t, s):
        x_0, logits = denoise(x_t, t)
        v = (logits + 1) / 2  # the released code's map from the network's output, [-1, 1] to [0, 1]
        log_beta = per_sample(jnp.log(transition(schedule, t, s)[1]), x_t)
        log_variance = v * log_beta + (1 - v) * per_sample(small(schedule, t, s), x_t)
        return posterior_mean(schedule, x_t, x_0, t, s), log_variance

    return p
