"""Exponential moving averages of parameters: functions `(ema, params, step) -> ema`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion_jax.types import Array, Params

__all__ = ['constant', 'none', 'warm_up']

Ema = Callable[[Params, Params, Array], Params]  # (ema, params after the step, number of steps done before it) -> ema


def constant(decay: float = 0.9999) -> Ema:
    """Ema <- decay ema + (1 - decay) params, starting at the initial parameters, as DDPM's released code does."""
    return lambda ema, params, step: interpolate(ema, params, decay)


def warm_up(decay: float = 0.9999) -> Ema:
    """The same with decay min(decay, (1 + step) / (10 + step)), so that short runs forget their initial parameters."""
    return lambda ema, params, step: interpolate(ema, params, jnp.minimum(decay, (1.0 + step) / (10.0 + step)))


def none() -> Ema:
    """No averaging: the current parameters."""
    return lambda ema, params, step: params


def interpolate(ema: Params, params: Params, decay: float | Array) -> Params:
    """Decay ema + (1 - decay) params, leaf by leaf."""
    return jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), ema, params)
