"""The bound of a masked diffusion model on the negative log-likelihood, in bits per token.

-log p(x_0) <= int_0^1 sigma'(t) / sigma(t) E_{x_t} sum_{i masked in x_t} -log p(x_0^i | x_t) dt, the continuous-time
ELBO of MD4 and MDLM (arXiv 2406.04329, 2406.07524), whose -alpha' / (1 - alpha) is sigma' / sigma here. With u =
sigma(t) it is the same integral for every schedule; nothing is left to the prior or to a decoder where all tokens are
there at t = 0 and none at the end.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffusion_jax.axes import event_axes
from diffusion_jax.likelihood.vlb import bits_per_dim
from diffusion_jax.process import masking
from diffusion_jax.ranges import whole
from diffusion_jax.schedules import rates
from diffusion_jax.types import Categorical, Key, Schedule


class MaskedTerms(NamedTuple):
    """Bits per token of each sample: `total` is the mean of `terms` over their times."""

    terms: Float[Array, 'b m']  # the integrand at one time in each of m equal parts of [0, t_max], times t_max
    total: Float[Array, ' b']


def masked_term(
    logits: Float[Array, 'b ... v'],
    schedule: Schedule,
    x_0: Int[Array, 'b ...'],
    x_t: Int[Array, 'b ...'],
    t: Float[Array, ' b'],
) -> Float[Array, ' b']:
    """The integrand in bits per token; 0 where sigma(t) = 0, as nothing is masked there.

    Args:
        logits: of x_0 given x_t.
        schedule: of the masking.
        x_0: levels.
        x_t: the same, but the mask here and there.
        t: the time of x_t.
    """
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), x_0[..., None], axis=-1)[..., 0]
    hidden = jnp.where(x_t == logits.shape[-1], -log_p, 0)
    sigma = schedule.sigma(t)
    weight = jnp.where(sigma == 0, 0, rates(schedule, t)[1] / jnp.where(sigma == 0, 1, sigma))
    return weight * bits_per_dim(hidden)


def masked(
    categorical: Categorical, schedule: Schedule, levels: int, terms: int = 100
) -> Callable[[Key, Array], MaskedTerms]:
    """The bound of a model on data, `(key, x_0 [B, ...] of levels) -> MaskedTerms`: unbiased, at `terms` random times.

    Args:
        categorical: the model.
        schedule: its schedule, with alpha + sigma = 1.
        levels: of the data, in [2, inf).
        terms: times for each sample, one in each of as many equal parts of [0, t_max]; in [1, inf).

    Raises:
        ValueError: an argument outside of its range, or another schedule.
    """
    whole('[1, inf)', terms=terms)
    corrupt = masking(schedule, levels).corrupt

    def bound(key, x_0):
        b = x_0.shape[:1]
        key_t, key_mask = jax.random.split(key)
        t = schedule.t_max * (jnp.arange(terms)[:, None] + jax.random.uniform(key_t, (terms, *b))) / terms

        def evaluate(i_and_t):
            i, t = i_and_t
            x_t = corrupt(jax.random.fold_in(key_mask, i), x_0, t)
            return masked_term(categorical(x_t, t), schedule, x_0, x_t, t)

        values = schedule.t_max * jax.lax.map(evaluate, (jnp.arange(terms), t)).T
        return MaskedTerms(values, jnp.mean(values, axis=event_axes(values)))

    return bound
