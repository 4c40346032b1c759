"""Masked diffusion of tokens, or of any quantised data: the bound on their likelihood is the loss."""

import jax
import jax.numpy as jnp

from diffusion_jax.likelihood import masked_term
from diffusion_jax.objectives.trains import trains
from diffusion_jax.process import masking, to_tokens
from diffusion_jax.times import TimeDistribution
from diffusion_jax.types import CategoricalModel, Objective, Schedule


@trains('categorical')
def masked(categorical_model: CategoricalModel, schedule: Schedule, levels: int, p_t: TimeDistribution) -> Objective:
    """The ELBO of MD4 and MDLM (arXiv 2406.04329, 2406.07524), see `likelihood.masked`, in bits per token.

    Args:
        categorical_model: (params, cond, dropout key) -> logits of x_0 given x_t.
        schedule: with alpha + sigma = 1.
        levels: of the data.
        p_t: uniform on [0, t_max], such as `times.low_discrepancy`; any other weighs the times, and makes no bound.

    Raises:
        ValueError: another schedule.
    """
    corrupt = masking(schedule, levels).corrupt

    def loss(params, frozen, key, batch, step):
        del frozen, step
        key_t, key_mask, key_dropout = jax.random.split(key, 3)
        x_0 = to_tokens(batch.x, levels)
        t = p_t(key_t, x_0.shape[:1])
        x_t = corrupt(key_mask, x_0, t)
        logits = categorical_model(params, batch.cond, key_dropout)(x_t, t)
        value = schedule.t_max * jnp.mean(masked_term(logits, schedule, x_0, x_t, t))
        return value, {'loss': value}

    return Objective(None, loss)
