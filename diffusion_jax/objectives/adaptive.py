"""Weights of a loss that are learned beside the model: functions of the noise level alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from diffusion_jax import nets
from diffusion_jax.types import Array, Key, Params

__all__ = ['log_weight']


class AdaptiveWeight(NamedTuple):
    """A pair of pure functions."""

    init: Callable[[Key], Params]
    apply: Callable[[Params, Array], Array]  # (its parameters, the log of a noise level [B]) -> log-weight [B]


def log_weight(dim: int = 64) -> AdaptiveWeight:
    """One dense layer on `dim` sinusoids, 0 at initialisation; see `nets.LogWeight` (EDM2, arXiv 2312.02696)."""
    module = nets.LogWeight(dim)
    return AdaptiveWeight(
        lambda key: module.init(key, jnp.zeros(1))['params'],
        lambda params, c_noise: module.apply({'params': params}, c_noise),  # pyright: ignore
    )
