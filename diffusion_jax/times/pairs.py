"""Pairs of training times: functions `(key, shape, step) -> (t, s)`, t > s; those of flow maps have t = s as well.

An argument outside of the range that its docstring gives is a ValueError.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.ranges import ascending, whole, within
from diffusion_jax.times.curricula import Curriculum, stages_in
from diffusion_jax.times.distributions import log_normal, logit_normal
from diffusion_jax.times.grids import Grid, decreasing
from diffusion_jax.types import Array, Key

Pairs = Callable[[Key, tuple[int, ...], Array], tuple[Array, Array]]


def neighbours(grid: Grid) -> Pairs:
    """Neighbours t, s of any of the grids above, each pair as probable, the one that ends at clean data included.

    For consistency functions that are the identity at t = 0 (see `precond.v`). The times are in [0, inf) and decrease.
    """
    t, s = decreasing(grid)[:-1], grid[1:]

    def pairs(key, shape, step):
        n = jax.random.randint(key, shape, 0, len(t))
        return jnp.asarray(t, float)[n], jnp.asarray(s, float)[n]

    return pairs


def uniform_pairs(N: Curriculum, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Pairs:
    """CD's and CT's neighbours t_{n+1}, t_n, n uniform on 1 .. N - 1, of Karras' grid (arXiv 2303.01469, section 4).

    sigma_min, sigma_max and rho are in (0, inf), and sigma_min below sigma_max.
    """
    within('(0, inf)', sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    ascending(sigma_min=sigma_min, sigma_max=sigma_max)

    def pairs(key, shape, step):
        n = jax.random.randint(key, shape, 1, N(step))
        return _neighbours(n, N(step), sigma_min, sigma_max, rho)

    return pairs


def log_normal_pairs(
    N: Curriculum,
    P_mean: float = -1.1,
    P_std: float = 2.0,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
) -> Pairs:
    """ICT's: the same neighbours, an interval as probable as ln sigma ~ N(P_mean, P_std^2) falls into it.

    Source: arXiv 2310.14189. A difference of normal distribution functions per interval, normalised, is
    what a truncated normal variable gives: so no table is needed that would change its size with N.
    P_mean is in (-inf, inf); P_std, sigma_min, sigma_max and rho are in (0, inf), and sigma_min below sigma_max.
    """
    within('(-inf, inf)', P_mean=P_mean)
    within('(0, inf)', P_std=P_std, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    ascending(sigma_min=sigma_min, sigma_max=sigma_max)
    lo, hi = ((np.log(sigma) - P_mean) / P_std for sigma in (sigma_min, sigma_max))

    def pairs(key, shape, step):
        sigma = jnp.exp(P_mean + P_std * jax.random.truncated_normal(key, lo, hi, shape))
        u = (sigma ** (1 / rho) - sigma_min ** (1 / rho)) / (sigma_max ** (1 / rho) - sigma_min ** (1 / rho))
        n = 1 + jnp.clip(jnp.floor(u * (N(step) - 1)), 0, N(step) - 2)
        return _neighbours(n, N(step), sigma_min, sigma_max, rho)

    return pairs


def continuous_pairs(
    steps: int,
    stages: int | None = None,
    P_mean: float = -1.1,
    P_std: float = 2.0,
    q: float = 2.0,
    k: float = 8.0,
    b: float = 1.0,
) -> Pairs:
    """ECT's: ln t ~ N(P_mean, P_std^2), s = max(0, t (1 - n(t) / q^a)), n(t) = 1 + k sigmoid(-b t).

    Source: arXiv 2406.14548, with a = 1 + floor(k / d), k the training step, as in the released code; d is the
    `steps` of the run over its `stages`, rounded down, and at least 1. Where s = 0 the loss is the denoising one, as at
    the start for most t. The steps are in [0, inf), the stages in [1, inf), or None for `curricula.stages_in(steps)`;
    P_mean is in (-inf, inf), q in (1, inf); P_std, k and b are in [0, inf).
    """
    whole('[0, inf)', steps=steps)
    stages = stages_in(steps) if stages is None else stages
    whole('[1, inf)', stages=stages)
    within('(1, inf)', q=q)
    within('[0, inf)', k=k, b=b)
    p_t, each = log_normal(P_mean, P_std), max(steps // stages, 1)

    def pairs(key, shape, step):
        t = p_t(key, shape)
        n = 1 + k * jax.nn.sigmoid(-b * t)
        a = 1 + step // each
        # Floored, so that t - s keeps some digits however many stages there are.
        gap = jnp.maximum(n * q ** -a.astype(t.dtype), jnp.sqrt(jnp.finfo(t.dtype).eps))
        return t, jnp.maximum(t * (1 - gap), 0)

    return pairs


def logit_normal_pairs(mean: float = -0.4, std: float = 1.0, share: float = 0.25) -> Pairs:
    """MeanFlow's: the larger and the smaller of two logit-normal draws (arXiv 2505.13447, section 4.3).

    With probability 1 - share the smaller is set to t, exactly; the released code counts off that part of a batch.
    The mean is in (-inf, inf), std in [0, inf) and share in [0, 1].
    """
    within('[0, 1]', share=share)
    p_t = logit_normal(mean, std)

    def pairs(key, shape, step):
        key_times, key_share = jax.random.split(key)
        a, b = p_t(key_times, (2, *shape))
        t = jnp.maximum(a, b)
        return t, jnp.where(jax.random.bernoulli(key_share, share, shape), jnp.minimum(a, b), t)

    return pairs


def nested_pairs(t_min: float = 0.0, t_max: float = 1.0) -> Pairs:
    """Flow maps' over all of the time: t uniform on [t_min, t_max], then s uniform on [t_min, t].

    So in reimplementations of arXiv 2503.07565. t_min is in [0, inf), below t_max in (0, inf).
    """
    within('[0, inf)', t_min=t_min)
    within('(0, inf)', t_max=t_max)
    ascending(t_min=t_min, t_max=t_max)

    def pairs(key, shape, step):
        u, v = jax.random.uniform(key, (2, *shape))
        t = t_max - (t_max - t_min) * u  # t_max may be drawn, t_min may not
        return t, jnp.minimum(t_min + (t - t_min) * v, t)

    return pairs


def dyadic_pairs(M: int = 128, share: float = 0.25) -> Pairs:
    """Shortcut models': steps d = 1, 1/2, .. 2/M, equally probable, from a multiple of d (arXiv 2410.12557, section 3).

    With probability 1 - share s = t, a multiple of 1 / M. The share is each pair's own probability, as above.

    Raises:
        ValueError: M is no power of two in [2, inf), or share not in [0, 1].
    """
    whole('[2, inf)', M=M)
    within('[0, 1]', share=share)
    if M & (M - 1):
        raise ValueError(f'M must be a power of two above 1; got {M}')

    def pairs(key, shape, step):
        key_d, key_t, key_share = jax.random.split(key, 3)
        apart = jax.random.bernoulli(key_share, share, shape)
        n = jnp.where(apart, 2 ** jax.random.randint(key_d, shape, 0, M.bit_length() - 1), M)  # steps of size d in all
        k = jax.random.randint(key_t, shape, 1, n + 1)
        return k / n, jnp.where(apart, k - 1, k) / n

    return pairs


def _neighbours(n, N, sigma_min, sigma_max, rho):
    """t_{n+1} and t_n of Karras' grid t_1 < .. < t_N; t_1 is sigma_min exactly, where consistency models are bound."""

    def point(i):
        u = (i - 1) / (N - 1)
        t = (sigma_min ** (1 / rho) + u * (sigma_max ** (1 / rho) - sigma_min ** (1 / rho))) ** rho
        return jnp.where(i == 1, sigma_min, t)

    return point(n + 1), point(n)
