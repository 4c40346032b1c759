"""DDPM's and DDIM's steps, for any schedule and any sub-sequence: s is always the next time of the grid in use."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax import reverse
from diffusion_jax.axes import expand_time
from diffusion_jax.ranges import one_of, within
from diffusion_jax.samplers.loop import noise
from diffusion_jax.schedules import eps_from_x_0, posterior_variance, transition
from diffusion_jax.types import Denoiser, DenoiserWithVariance, Sampler, Schedule

_VARIANCES = {'small': reverse.small, 'large': reverse.large}


class Memoryless(NamedTuple):
    """State of a sampler without memory."""

    x: Float[Array, 'b ...']


def ancestral(denoise: Denoiser, schedule: Schedule, variance: str = 'small') -> Sampler:
    """DDPM (arXiv 2006.11239, algorithm 2): draws x_s from p(x_s | x_t); no noise in the step to s = 0.

    Args:
        denoise: the model.
        schedule: its schedule.
        variance: 'small' (beta-tilde) or 'large' (beta; on a sub-sequence this is DDIM's sigma-hat row, arXiv
            2010.02502, section 5).

    Raises:
        ValueError: another variance.
    """
    one_of(_VARIANCES, variance=variance)
    return _from_reverse(reverse.fixed(denoise, schedule, _VARIANCES[variance]))


def ancestral_learned(denoise_with_variance: DenoiserWithVariance, schedule: Schedule) -> Sampler:
    """IDDPM: the same with the variance that the network predicts (arXiv 2102.09672, section 3.1)."""
    return _from_reverse(reverse.learned(denoise_with_variance, schedule))


def _from_reverse(p: reverse.Reverse) -> Sampler:
    def step(key, state, t, s):
        mean, log_variance = p(state.x, expand_time(t, state.x), expand_time(s, state.x))
        std = jnp.where(s == 0, 0.0, jnp.exp(log_variance / 2))
        return Memoryless(mean + std * noise(key, state.x))

    return Sampler(Memoryless, step)


def ddim(denoise: Denoiser, schedule: Schedule, eta: float = 0.0) -> Sampler:
    """DDIM (arXiv 2010.02502, eq. 12 and 16): eta = 0 is deterministic, eta = 1 is `ancestral(variance='small')`.

    Raises:
        ValueError: eta is not in [0, 1]. Beyond 1 the noise of a step may have more variance than is there to keep.
    """
    within('[0, 1]', eta=eta)

    def step(key, state, t, s):
        x_0, eps = _predict(denoise, schedule, state.x, t, s)
        if not eta:
            return Memoryless(schedule.alpha(s) * x_0 + schedule.sigma(s) * eps)
        std = eta * jnp.sqrt(posterior_variance(schedule, t, s))
        # The direction loses the variance that the fresh noise brings, so the marginal keeps sigma(s)^2 for every eta:
        # sigma_s^2 - std^2, with sigma_s^2 - posterior_variance written out, as near eta = 1 the difference cancels.
        kept = eta * schedule.sigma(s) * transition(schedule, t, s)[0] / schedule.sigma(t)
        direction = schedule.sigma(s) * jnp.sqrt(jnp.maximum(1 - eta**2 + kept**2, 0))
        return Memoryless(schedule.alpha(s) * x_0 + direction * eps + std * noise(key, state.x))

    return Sampler(Memoryless, step)


def ddim_encode(denoise: Denoiser, schedule: Schedule) -> Sampler:
    """Deterministic encoding x_0 -> x_T: `ddim(eta=0)` on an increasing grid, e.g. `times.uniform(50)[::-1]`.

    Source: arXiv 2010.02502, section 4.3. Decoding with `ddim` on the grid itself inverts it as steps become small.
    """
    return ddim(denoise, schedule, eta=0.0)


def _predict(denoise, schedule, x, t, s):
    """x_0 and eps at x_t. Clean data (sigma_t = 0, the encoder's first step) hold no eps: it is the model's at s."""
    clean = schedule.sigma(t) == 0
    u = jnp.where(clean, s, t)
    x_0 = denoise(x, expand_time(u, x))
    return jnp.where(clean, x / jnp.where(clean, schedule.alpha(t), 1), x_0), eps_from_x_0(schedule, x, x_0, u)
