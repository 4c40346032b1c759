"""Samplers of the reverse SDE dx = (f x - g^2 score) dt + g dw (arXiv 2011.13456, eq. 6), on any schedule."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import expand_time
from diffusion_jax.drift import score, sde_coefficients, without_signal
from diffusion_jax.ranges import whole, within
from diffusion_jax.samplers.ancestral import Memoryless, ancestral
from diffusion_jax.samplers.loop import fold_in, noise
from diffusion_jax.schedules import eps_from_x_0, posterior_mean, posterior_variance, transition
from diffusion_jax.types import Denoiser, Sampler, Schedule


def euler_maruyama(denoise: Denoiser, schedule: Schedule) -> Sampler:
    """Euler-Maruyama on the reverse SDE: weak order 1, one evaluation per step.

    Some steps are DDPM's, from the same evaluation: the two that the SDE does not have, where alpha(t) = 0, as there f
    and g are infinite, and to clean data, whose result is x_0; and those so long that pure noise would grow in them,
    |1 - (t - s) (f + g^2 / sigma^2)| > 1, as from the end of a cosine table.
    """

    def step(key, state, t, s):
        x, z = state.x, noise(key, state.x)
        x_0 = denoise(x, expand_time(t, x))
        start = without_signal(schedule, t)
        inside = jnp.where(start, s, t)  # any time with a signal: what comes of it is not used
        f, g2 = sde_coefficients(schedule, inside)
        grows = jnp.abs(1 - (t - s) * (f + g2 / schedule.sigma(inside) ** 2)) > 1
        grad_log_p = -eps_from_x_0(schedule, x, x_0, inside) / schedule.sigma(inside)
        x_s = x - (t - s) * (f * x - g2 * grad_log_p) + jnp.sqrt(g2 * (t - s)) * z
        ddpm = posterior_mean(schedule, x, x_0, t, s) + jnp.sqrt(posterior_variance(schedule, t, s)) * z
        return Memoryless(jnp.where(start | grows | (schedule.sigma(s) == 0), ddpm, x_s))

    return Sampler(Memoryless, step)


def predictor_corrector(denoise: Denoiser, schedule: Schedule, snr: float = 0.16, corrector_steps: int = 1) -> Sampler:
    """An ancestral step, then Langevin steps at the new time (arXiv 2011.13456, algorithms 2 to 5 and appendix F).

    A Langevin step is x + epsilon score + sqrt(2 epsilon) z, epsilon = 2 (alpha_t / alpha_s)^2 (snr |z| / |score|)^2,
    whose first factor is the paper's alpha_i = 1 - beta_i, 1 on VE. The norms are each sample's own, where the released
    code takes their mean over the batch: a sample depends on no other. No Langevin step is taken on clean data.

    Args:
        denoise: the model.
        schedule: its schedule.
        snr: the paper's r, in [0, inf); 0.16 is what it uses for CIFAR-10 on VE.
        corrector_steps: Langevin steps, a whole number in [0, inf), each an evaluation more.

    Raises:
        ValueError: for an argument outside of its range.
    """
    within('[0, inf)', snr=snr)
    whole('[0, inf)', corrector_steps=corrector_steps)
    predictor, grad_log_p = ancestral(denoise, schedule), score(denoise, schedule)

    def step(key, state, t, s):
        scale = transition(schedule, t, s)[0] ** 2

        def correct(x):
            for i in range(corrector_steps):
                z, g = noise(fold_in(key, 1 + i), x), grad_log_p(x, expand_time(s, x))
                epsilon = 2 * scale * (snr * _norm(z) / _norm(g)) ** 2
                x = x + epsilon * g + jnp.sqrt(2 * epsilon) * z
            return x

        x = predictor.step(fold_in(key, 0), state, t, s).x
        return Memoryless(jax.lax.cond(schedule.sigma(s) == 0, lambda x: x, correct, x))

    return Sampler(Memoryless, step)


def _norm(x):
    """Of each sample, [B, 1, ...]."""
    return jnp.sqrt(jnp.sum(x**2, axis=tuple(range(1, x.ndim)), keepdims=True))
