"""Weights of a loss that are learned beside the model: functions of the noise level alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from diffusion_jax import nets
from diffusion_jax.types import Array, Key, Params

__all__ = ['log_weight', 'uncertainty']

_PHI = 'log_weight'  # where its parameters lie beside the network's


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


def uncertainty(dim: int = 128) -> AdaptiveWeight:
    """EDM2's: minus u(sigma), which is told ln(sigma) / 4; see `nets.MPLogWeight` (arXiv 2312.02696, its code)."""
    module = nets.MPLogWeight(dim)
    return AdaptiveWeight(
        lambda key: module.init(key, jnp.zeros(1))['params'],
        lambda params, c_noise: module.apply({'params': params}, c_noise / 4),  # pyright: ignore
    )


def learnt_beside(
    weight: AdaptiveWeight | None,
) -> tuple[Callable[[Key], dict[str, Params]] | None, Callable[[Any, Array], Array | float]]:
    """What an objective with this weight learns (`Objective.init`), and w(params, log noise level [B]); 0 for None."""
    if weight is None:
        return None, lambda params, c_noise: 0.0
    return lambda key: {_PHI: weight.init(key)}, lambda params, c_noise: weight.apply(params[_PHI], c_noise)
