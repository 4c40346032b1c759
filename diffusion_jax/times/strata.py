"""The n-th parts of a distribution of training times, equally probable, from the least times to the greatest."""

import math

import jax
import jax.numpy as jnp

from diffusion_jax.ranges import whole
from diffusion_jax.times.distributions import TimeDistribution
from diffusion_jax.times.pairs import Pairs
from diffusion_jax.types import Array


def stratum(p_t: TimeDistribution, i: Array | int, n: int) -> TimeDistribution:
    """p(t) between its quantiles i / n and (i + 1) / n, as far as n times as many draws tell them.

    Args:
        p_t: the distribution; ties, as of a table's times, may be in two strata.
        i: which part, in 0 .. n - 1; an integer, or a traced one.
        n: of how many, in [1, inf).
    """
    whole('[1, inf)', n=n)

    def draw(key, shape):
        key_t, key_order = jax.random.split(key)
        order = _places(key_order, i, math.prod(shape))
        return jnp.sort(p_t(key_t, (n * math.prod(shape),)))[order].reshape(shape)

    return draw


def stratum_of_pairs(pairs: Pairs, i: Array | int, n: int) -> Pairs:
    """The same part of pairs (t, s), by their t. n is in [1, inf)."""
    whole('[1, inf)', n=n)

    def draw(key, shape, step):
        key_t, key_order = jax.random.split(key)
        order = _places(key_order, i, math.prod(shape))
        t, s = pairs(key_t, (n * math.prod(shape),), step)
        rank = jnp.argsort(t)[order]
        return t[rank].reshape(shape), s[rank].reshape(shape)

    return draw


def _places(key, i, m):
    """Those of part i among n m sorted draws, in any order: neighbours in a batch are no neighbours in time."""
    return i * m + jax.random.permutation(key, m)
