"""Dequantisation: a continuous density bounds the probability of quantised data (arXiv 1902.00275, section 3.1).

Data lie on `levels` equally spaced values in [-1, 1], each in the middle of a bin of width 2 / (levels - 1), as in the
decoder of DDPM's bound. With y drawn from any q(y | x) on the bin of x, -log P(x) <= E[log q(y | x) - log p(y)]: the
width of the bins enters by q alone, and no further offset is needed.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.types import Key, Params

Dequantiser = Callable[[Key, Array], tuple[Array, Array]]  # (key, x [B, ...]) -> (y [B, ...], log q(y | x) [B])
Conditional = Callable[[Array], tuple[Array, Array]]  # x [B, ...] -> (mean, log scale) of logit(u), each as x
LogDensity = Callable[[Key, Array], Array]  # (key, y [B, ...]) -> log p(y) [B], or an unbiased estimate, in nats


def uniform(levels: int = 256) -> Dequantiser:
    """Uniform noise over the bin: log q is log((levels - 1) / 2) per dimension."""
    width = _width(levels)

    def dequantise(key, x):
        u = jax.random.uniform(key, x.shape, x.dtype)
        return x + width * (u - 0.5), jnp.full(x.shape[:1], -math.prod(x.shape[1:]) * math.log(width), x.dtype)

    return dequantise


def truncated_normal(sigma: float, levels: int = 256) -> Dequantiser:
    """Normal noise of standard deviation sigma cut off at the bin's edges (arXiv 2305.03935).

    With sigma the least noise of the model's path, y is what a network trained on quantised data has seen.
    """
    width = _width(levels)
    if sigma <= 0:
        raise ValueError(f'sigma must be above 0; got {sigma}')
    edge = width / 2 / sigma
    log_scale = math.log(sigma * math.erf(edge / math.sqrt(2)))

    def dequantise(key, x):
        eps = jax.random.truncated_normal(key, -edge, edge, x.shape, x.dtype)
        log_q = jax.scipy.stats.norm.logpdf(eps) - log_scale
        return x + sigma * eps, jnp.sum(log_q, axis=tuple(range(1, x.ndim)))

    return dequantise


def variational(conditional: Conditional, levels: int = 256) -> Dequantiser:
    """A learned q: y = x + width (u - 1/2) with logit(u) ~ Logistic(mean(x), scale(x)), each dimension by itself.

    Variational dequantisation as in Flow++ (arXiv 1902.00275, section 3.1), with the simplest family that holds the
    uniform one: a mean of 0 and a scale of 1, where a network that starts at zero starts. Train it by `elbo`.

    Args:
        conditional: mean and log scale from x, e.g. a small network with its parameters bound.
        levels: quantisation levels of the data.
    """
    width = _width(levels)

    def dequantise(key, x):
        mean, log_scale = conditional(x)
        noise = jax.random.logistic(key, x.shape, x.dtype)
        logit = mean + jnp.exp(log_scale) * noise
        # du/dlogit = u (1 - u) is the logistic density itself
        log_u = jax.scipy.stats.logistic.logpdf(noise) - log_scale - jax.scipy.stats.logistic.logpdf(logit)
        log_q = jnp.sum(log_u - math.log(width), axis=tuple(range(1, x.ndim)))
        return x + width * (jax.nn.sigmoid(logit) - 0.5), log_q

    return dequantise


def dequantised(dequantise: Dequantiser, log_p: LogDensity) -> Callable[[Key, Array], Float[Array, ' b']]:
    """Upper bound on -log2 P(x) per dimension, one draw of y for each sample: `(key, x [B, ...]) -> bits/dim [B]`."""

    def bits(key, x):
        key_y, key_p = jax.random.split(key)
        y, log_q = dequantise(key_y, x)
        return (log_q - log_p(key_p, y)) / (math.prod(x.shape[1:]) * np.log(2))

    return bits


def elbo(
    conditional: Callable[[Params, Array], tuple[Array, Array]], log_p: LogDensity, levels: int = 256
) -> Callable[[Params, Key, Array], Float[Array, '']]:
    """The loss of a variational dequantiser, its bound in bits/dim: `(params, key, x [B, ...]) -> []`."""

    def loss(params, key, x):
        dequantise = variational(lambda x: conditional(params, x), levels)
        return jnp.mean(dequantised(dequantise, log_p)(key, x))

    return loss


def _width(levels):
    if levels < 2:
        raise ValueError(f'levels must be at least 2; got {levels}')
    return 2 / (levels - 1)
