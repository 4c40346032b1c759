"""Samplers of masked diffusion: x holds levels and the mask, `levels`; in each step some masks become tokens.

All but `remask` leave tokens alone once they are drawn, and in a step to sigma(s) = 0 no mask is left. Where the
model's logits are NaN a mask stays one. `top_p`, in (0, 1], draws from the likeliest tokens alone, of that
mass; 1 is all of them. An argument outside of its range is a ValueError.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from diffusion_jax.axes import event_axes, expand_time, per_sample
from diffusion_jax.process import check_masking, masking_posterior, per_key
from diffusion_jax.ranges import within
from diffusion_jax.samplers.ancestral import Memoryless
from diffusion_jax.samplers.loop import fold_in
from diffusion_jax.types import Categorical, Key, Sampler, Schedule


def remask(categorical: Categorical, schedule: Schedule, levels: int, eta: float = 0.05, top_p: float = 1.0) -> Sampler:
    """Ancestral unmasking that also masks tokens again, to correct them: ReMDM's rescaled form (arXiv 2503.00307).

    A predictor and a corrector in one step, whose probabilities are those of `process.masking_posterior`.

    Args:
        categorical: the model.
        schedule: with alpha + sigma = 1.
        levels: of the data, in [2, inf).
        eta: in [0, 1]; 0 is `unmask`, and 1 masks almost all of what is there in every step.
        top_p: in (0, 1].
    """
    within('[0, 1]', eta=eta)
    within('(0, 1]', top_p=top_p)
    check_masking(schedule, levels)

    def step(key, state, t, s):
        x = state.x
        key_token, key_stay, key_forget = (fold_in(key, i) for i in range(3))
        token = _draw(key_token, nucleus(categorical(x, expand_time(t, x)), top_p))
        p_stays, p_forgotten = masking_posterior(schedule, t, s, eta)
        stays = per_key(jax.random.uniform, key_stay, x.shape) < p_stays
        after = jnp.where((x == levels) & ~stays, token, x)
        if not eta:
            return Memoryless(after)
        forgotten = per_key(jax.random.uniform, key_forget, x.shape) < p_forgotten
        return Memoryless(jnp.where((x != levels) & forgotten, levels, after))

    return Sampler(Memoryless, step)


def unmask(categorical: Categorical, schedule: Schedule, levels: int, top_p: float = 1.0) -> Sampler:
    """Ancestral sampling of masked diffusion, q(x_s | x_t, x_0) with the model's x_0 (MD4, arXiv 2406.04329).

    A mask stays one with probability sigma_s / sigma_t, else its token is drawn. Tokens that are drawn in one step do
    not see each other: the law is the model's as the steps become small.

    Args:
        categorical: the model.
        schedule: with alpha + sigma = 1.
        levels: of the data, in [2, inf).
        top_p: in (0, 1].
    """
    return remask(categorical, schedule, levels, 0.0, top_p)


def unmask_confident(categorical: Categorical, schedule: Schedule, levels: int, top_p: float = 1.0) -> Sampler:
    """Draws a token for every mask, and keeps the likeliest (MaskGIT, arXiv 2202.04200, without its noise).

    Of m masks the whole number nearest to m sigma_s / sigma_t stays; on `times.uniform(n)` of a linear schedule and n
    places it is one token a step. An order by likelihood favours what is likely: samples are less diverse than data.

    Args:
        categorical: the model.
        schedule: with alpha + sigma = 1.
        levels: of the data, in [2, inf).
        top_p: in (0, 1].
    """
    within('(0, 1]', top_p=top_p)
    check_masking(schedule, levels)

    def step(key, state, t, s):
        x = state.x
        logits = categorical(x, expand_time(t, x))
        token = _draw(fold_in(key, 0), nucleus(logits, top_p))
        at = jnp.minimum(token, levels - 1)[..., None]
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), at, axis=-1)[..., 0]
        masked = x == levels
        m = jnp.sum(masked, axis=event_axes(x))
        drawn = m - jnp.round(m * masking_posterior(schedule, t, s)[0])
        first = _rank(jnp.where(masked, log_p, -jnp.inf)) < per_sample(drawn, x)
        return Memoryless(jnp.where(masked & first, token, x))

    return Sampler(Memoryless, step)


def nucleus(logits: Float[Array, '*b v'], top_p: float) -> Float[Array, '*b v']:
    """The smallest set of the likeliest tokens whose mass is at least `top_p`, with all that tie with its last; others
    at -inf (arXiv 1904.09751). `top_p` is in (0, 1], and 1 leaves the logits as they are.
    """
    within('(0, 1]', top_p=top_p)
    if top_p == 1:
        return logits
    p = jax.nn.softmax(logits)
    descending = -jnp.sort(-p)
    before = jnp.cumsum(descending, axis=-1) - descending
    last = jnp.sum(before < top_p, axis=-1, keepdims=True) - 1
    return jnp.where(p >= jnp.take_along_axis(descending, last, axis=-1), logits, -jnp.inf)


def _draw(key: Key, logits: Float[Array, 'b ... v']) -> Int[Array, 'b ...']:
    """A token for every place, the mask where logits are NaN."""

    def one(key, logits):
        # The default noise has 23 bits: too few for the rare of many tokens.
        return jax.random.categorical(key, logits, mode='high')

    token = jax.vmap(one)(key, logits) if key.ndim else one(key, logits)
    unknown: Bool[Array, 'b ...'] = jnp.isnan(logits).any(-1)
    return jnp.where(unknown, logits.shape[-1], token).astype(jnp.int32)


def _rank(x: Float[Array, 'b ...']) -> Int[Array, 'b ...']:
    """The place of each value among those of its sample in falling order, the first of equal ones before the others."""
    order = jnp.argsort(-x.reshape(len(x), -1), axis=1)
    return jnp.argsort(order, axis=1).reshape(x.shape)
