"""DDPM's true variational bound as a loss, and iDDPM's hybrid of it with L_simple."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion_jax import reverse
from diffusion_jax.axes import mean_square
from diffusion_jax.likelihood import vlb_term
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.weights import Weight
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import discrete_uniform
from diffusion_jax.types import Model, ModelWithVariance, Objective, Schedule


@trains('denoise')
def vlb(
    model: Model,
    schedule: Schedule,
    T: int = 1000,
    levels: int = 256,
    log_variance: reverse.LogVariance = reverse.small,
) -> Objective:
    """The true bound L with a fixed variance, in bits/dim (arXiv 2006.11239, eq. 5): T times one term at uniform t.

    The prior term, which has no parameters, is left out.
    """

    def make_reverse(params, batch, key):
        return reverse.fixed(model(params, batch.cond, key), schedule, log_variance)

    return _bound(make_reverse, schedule, T, levels)


@trains('with_variance')
def vlb_learned(
    model_with_variance: ModelWithVariance, schedule: Schedule, T: int = 1000, levels: int = 256
) -> Objective:
    """The same with the variance that the network predicts: iDDPM's L_vlb with uniform t (arXiv 2102.09672, eq. 4)."""

    def make_reverse(params, batch, key):
        return reverse.learned(model_with_variance(params, batch.cond, key), schedule)

    return _bound(make_reverse, schedule, T, levels)


def _bound(make_reverse: Callable, schedule, T, levels) -> Objective:
    def loss(params, frozen, key, batch, step):
        del frozen, step
        key_t, key_eps, key_dropout = jax.random.split(key, 3)
        t = discrete_uniform(T)(key_t, batch.x.shape[:1])
        x_t = q_sample(schedule, batch.x, t, jax.random.normal(key_eps, batch.x.shape))
        p = make_reverse(params, batch, key_dropout)
        value = T * jnp.mean(vlb_term(p, schedule, batch.x, x_t, t, previous(t, T), levels))
        return value, {'loss': value}

    return Objective(None, loss)


@trains('with_variance')
def hybrid(
    model_with_variance: ModelWithVariance,
    schedule: Schedule,
    weight: Weight,
    T: int = 1000,
    levels: int = 256,
    vlb_weight: float = 0.001,
) -> Objective:
    """IDDPM's L_hybrid = L_simple + lambda L_vlb (arXiv 2102.09672, eq. 16).

    The bound trains the variance alone: the mean enters it under a stop-gradient.
    """

    def loss(params, frozen, key, batch, step):
        del frozen, step
        key_t, key_eps, key_dropout = jax.random.split(key, 3)
        t = discrete_uniform(T)(key_t, batch.x.shape[:1])
        x_t = q_sample(schedule, batch.x, t, jax.random.normal(key_eps, batch.x.shape))
        x_0, logits = model_with_variance(params, batch.cond, key_dropout)(x_t, t)
        simple = jnp.mean(weight(t) * mean_square(x_0 - batch.x))
        p = reverse.learned(lambda *_: (jax.lax.stop_gradient(x_0), logits), schedule)
        bound = T * jnp.mean(vlb_term(p, schedule, batch.x, x_t, t, previous(t, T), levels))
        value = simple + vlb_weight * bound
        return value, {'loss': value, 'simple': simple, 'vlb': bound}

    return Objective(None, loss)


def previous(t, T):
    """The point of the table before t = k / T; exactly 0 for k = 1."""
    return (jnp.round(t * T) - 1) / T
