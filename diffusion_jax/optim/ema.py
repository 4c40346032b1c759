"""Exponential moving averages of parameters: functions `(ema, params, step) -> ema`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax import ranges
from diffusion_jax.types import Array, Params

__all__ = ['constant', 'none', 'power', 'warm_up']

LENGTHS = '[1e-6, 0.288675)'  # up to 1 / sqrt(12), where the average would be the mean of all
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


def power(sigma_rel: float = 0.1) -> Ema:
    """An average over a share of the training, however long that is: EDM2's power-function profile.

    Ema <- beta(k) ema + (1 - beta(k)) params at step k = 1, 2, .., with beta(k) = (1 - 1/k)^(gamma + 1). After step K
    the parameters of step k have in it the weight (k^(gamma + 1) - (k - 1)^(gamma + 1)) / K^(gamma + 1), the initial
    ones none.

    Args:
        sigma_rel: standard deviation of that profile over the steps, as a share of K, in [1e-6, 0.288675).

    Raises:
        ValueError: for a sigma_rel out of its range.

    Source: arXiv 2312.02696; equation 127 as its released code counts (NVlabs/edm2, training/phema.py).
    """
    exponent = gamma_of(sigma_rel) + 1

    def average(ema, params, step):
        # 1 - beta(k) by expm1: as a difference of float32 it has two digits after a million steps.
        share = -jnp.expm1(exponent * jnp.log1p(-1 / (step + 1.0)))
        return jax.tree.map(lambda e, p: e + share * (p - e), ema, params)

    return average


def gamma_of(sigma_rel: float) -> float:
    """The exponent gamma > 0 of the profile p(t) ~ t^gamma whose standard deviation is this share of its length.

    sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), the variance of a Beta(gamma + 1, 1), falls for gamma > 0
    from 1/12, that of a mean of all; so gamma is the greatest root of a cubic.

    Args:
        sigma_rel: in [1e-6, 0.288675).

    Raises:
        ValueError: for a sigma_rel out of its range.

    Source: arXiv 2312.02696; equations 123 and 126 and algorithm 2, as its released code counts, which takes lengths
        between 0 and 0.289.
    """
    ranges.within(LENGTHS, sigma_rel=sigma_rel)
    x = sigma_rel**-2
    return float(np.roots([1, 7, 16 - x, 12 - x]).real.max())


def interpolate(ema: Params, params: Params, decay: float | Array) -> Params:
    """Decay ema + (1 - decay) params, leaf by leaf."""
    return jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), ema, params)
