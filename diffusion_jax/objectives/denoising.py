"""One loss for DDPM, v-prediction, EDM and flow matching: E_t w(t) ||D(x_t, t) - x_0||^2."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import mean_square
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.weights import Weight
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import TimeDistribution
from diffusion_jax.types import Model, Objective, Schedule


@trains('denoise')
def denoising(model: Model, schedule: Schedule, p_t: TimeDistribution, weight: Weight) -> Objective:
    """The denoising loss, a mean over batch and event axes.

    DDPM's L_simple (arXiv 2006.11239, eq. 14) is `p_t = times.discrete_uniform(T)`, `weight = weights.snr(schedule)`.
    """

    def loss(params, frozen, key, batch, step):
        del frozen, step
        key_t, key_eps, key_dropout = jax.random.split(key, 3)
        t = p_t(key_t, batch.x.shape[:1])
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        x_0 = model(params, batch.cond, key_dropout)(x_t, t)
        value = jnp.mean(weight(t) * mean_square(x_0 - batch.x))
        return value, {'loss': value}

    return Objective(None, loss)
