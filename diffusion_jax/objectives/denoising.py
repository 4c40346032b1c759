"""One loss for DDPM, v-prediction, EDM, EDM2 and flow matching: E_t w(t) ||D(x_t, t) - x_0||^2."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import mean_square
from diffusion_jax.objectives.adaptive import AdaptiveWeight, learnt_beside
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.weights import Weight
from diffusion_jax.schedules import log_snr, q_sample
from diffusion_jax.times import TimeDistribution
from diffusion_jax.types import Model, Objective, Schedule


@trains('denoise')
def denoising(
    model: Model,
    schedule: Schedule,
    p_t: TimeDistribution,
    weight: Weight,
    adaptive_weight: AdaptiveWeight | None = None,
) -> Objective:
    """The denoising loss, a mean over batch and event axes.

    DDPM's L_simple (arXiv 2006.11239, eq. 14) is `p_t = times.discrete_uniform(T)`, `weight = weights.snr(schedule)`.

    Args:
        model: the denoiser.
        schedule: of the noise.
        p_t: distribution of the times.
        weight: w(t).
        adaptive_weight: phi of the log of sigma / alpha, learned with the model, as EDM2's u = -phi: the loss becomes
            e^phi error - phi (arXiv 2312.02696, equations 14 to 16 and 21 as its released code counts), which is no
            measure of progress; the weighted error is then a metric. None for 0.
    """
    init, log_w = learnt_beside(adaptive_weight)

    def loss(params, frozen, key, batch, step):
        del frozen, step
        key_t, key_eps, key_dropout = jax.random.split(key, 3)
        t = p_t(key_t, batch.x.shape[:1])
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        x_0 = model(params, batch.cond, key_dropout)(x_t, t)
        error = weight(t) * mean_square(x_0 - batch.x)
        if adaptive_weight is None:
            value = jnp.mean(error)
            return value, {'loss': value}
        phi = log_w(params, -log_snr(schedule, t) / 2)
        value = jnp.mean(jnp.exp(phi) * error - phi)
        return value, {'loss': value, 'error': jnp.mean(error)}

    return Objective(init, loss)
