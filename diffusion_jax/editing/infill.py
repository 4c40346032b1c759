"""Infilling of tokens: what is given is there from the start and in every prediction."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from diffusion_jax import samplers
from diffusion_jax.types import Categorical, Key, Sampler


def given(categorical: Categorical, known: Bool[Array, '...'], x_0: Int[Array, 'b ...']) -> Categorical:
    """The model with the given tokens for its predictions where `known`: `project` for tokens.

    So a sampler that masks tokens again draws these as they were. `known` has the axes of one sample, some may have
    size one.
    """

    def projected(x, t):
        logits = categorical(x, t)
        certain = jnp.where(jax.nn.one_hot(x_0, logits.shape[-1]) > 0, 0, -jnp.inf)
        return jnp.where(known[None, ..., None], certain, logits)

    return projected


def infill(
    sampler: Sampler, levels: int, key: Key, known: Bool[Array, '...'], x_0: Int[Array, 'b ...'], times
) -> Int[Array, 'b ...']:
    """Runs the sampler of a model with `given` tokens from these alone, everything else masked.

    A token that is given stays as it is, so that, with one token drawn a step, the law is the model's given these.

    Args:
        sampler: made from `given(categorical, known, x_0)`.
        levels: of the data.
        key: one key `[]`, or one per sample `[B]`.
        known: where tokens are given.
        x_0: and what they are; anything elsewhere.
        times: grid `[S + 1]`, ending at sigma = 0.
    """
    return samplers.sample(sampler, key, jnp.where(known[None], x_0, levels), times)
