"""DDPM's variational bound on the negative log-likelihood, in bits per dimension.

L = prior + sum_{k=2}^T KL_k + decoder (arXiv 2006.11239, eq. 5). Data lie on `levels` equally spaced values in [-1, 1].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from diffusion_jax.axes import per_sample
from diffusion_jax.reverse import Reverse
from diffusion_jax.schedules import posterior_mean, posterior_variance, q_sample
from diffusion_jax.types import Key, Schedule


class BoundTerms(NamedTuple):
    """Bits per dimension of each sample; their sum `prior + kl.sum(1) * T_kl / m + decoder` is `total`."""

    prior: Float[Array, ' b']
    kl: Float[Array, 'b m']  # the terms KL_k that were evaluated
    k: Int[Array, 'b m']  # and their steps, in 2 .. T
    decoder: Float[Array, ' b']
    total: Float[Array, ' b']


def normal_kl(mean_1: Array, log_variance_1: Array, mean_2: Array, log_variance_2: Array) -> Array:
    """KL(N_1 || N_2) per dimension in nats, for arguments that broadcast."""
    return 0.5 * (
        log_variance_2
        - log_variance_1
        + jnp.exp(log_variance_1 - log_variance_2)
        + (mean_1 - mean_2) ** 2 * jnp.exp(-log_variance_2)
        - 1
    )


def discretized_gaussian_nll(
    x_0: Float[Array, 'b ...'], mean: Float[Array, 'b ...'], log_variance: Array, levels: int = 256
) -> Float[Array, 'b ...']:
    """-log of the mass that N(mean, exp(log_variance)) puts on the bin of x_0, in nats (arXiv 2006.11239, eq. 13).

    Bins are 2 / (levels - 1) wide; the outermost two are open to infinity, so that the masses sum to one.
    """
    half = 1 / (levels - 1)
    inverse_std = jnp.exp(-log_variance / 2)
    upper = (x_0 - mean + half) * inverse_std
    lower = (x_0 - mean - half) * inverse_std
    log_cdf, log_sf = jax.scipy.stats.norm.logcdf, jax.scipy.stats.norm.logsf
    # log(cdf(upper) - cdf(lower)) taken in the tail where it does not cancel; the maximum keeps log1p off -1.
    right = lower > 0
    a = jnp.where(right, log_sf(lower), log_cdf(upper))
    b = jnp.where(right, log_sf(upper), log_cdf(lower))
    inside = a + jnp.log(-jnp.expm1(jnp.minimum(b - a, -1e-7)))
    return -jnp.where(x_0 < -1 + half, log_cdf(upper), jnp.where(x_0 > 1 - half, log_sf(lower), inside))


def vlb_term(
    p: Reverse,
    schedule: Schedule,
    x_0: Float[Array, 'b ...'],
    x_t: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    s: Float[Array, ' b'],
    levels: int = 256,
) -> Float[Array, ' b']:
    """One term of the bound in bits/dim: KL(q(x_s|x_t,x_0) || p(x_s|x_t)), or the decoder's NLL where s = 0."""
    mean, log_variance = p(x_t, t, s)
    decode = s == 0
    # The KL at s = 0 is not defined: give it a variance that keeps its unused gradient finite.
    var_q = jnp.where(decode, 1.0, posterior_variance(schedule, t, s))
    kl = normal_kl(posterior_mean(schedule, x_t, x_0, t, s), per_sample(jnp.log(var_q), x_0), mean, log_variance)
    nll = discretized_gaussian_nll(x_0, mean, log_variance, levels)
    return bits_per_dim(jnp.where(per_sample(decode, x_0), nll, kl))


def prior_term(schedule: Schedule, x_0: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """KL(q(x_T | x_0) || N(0, I)) in bits/dim (arXiv 2006.11239, eq. 5), for schedules that end at t = 1."""
    one = jnp.ones((), x_0.dtype)
    zero = jnp.zeros((), x_0.dtype)
    return bits_per_dim(normal_kl(schedule.alpha(one) * x_0, 2 * jnp.log(schedule.sigma(one)), zero, zero))


def bits_per_dim(nats: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """Mean over the event axes, in bits."""
    return jnp.mean(nats, axis=tuple(range(1, nats.ndim))) / np.log(2)


def vlb(
    p: Reverse, schedule: Schedule, T: int, levels: int = 256, terms: int | None = None
) -> Callable[[Key, Array], BoundTerms]:
    """The bound of a model on data, `(key, x_0 [B, ...]) -> BoundTerms`.

    Args:
        p: the model's reverse process.
        schedule: its schedule.
        T: number of steps of the process.
        levels: quantisation levels of the data in [-1, 1].
        terms: how many of the T - 1 KL terms to evaluate for each sample: at random steps, one in each of `terms` equal
            strata, which leaves the estimate unbiased. All by default.
    """
    m = T - 1 if terms is None else terms
    if not 1 <= m <= T - 1:
        raise ValueError(f'terms must be between 1 and T - 1 = {T - 1}; got {terms}')

    def bound(key, x_0):
        b = x_0.shape[:1]
        key_strata, key_noise = jax.random.split(key)
        # All terms: each stratum is one step, and no rounding of i + u may move it to the next.
        u = jnp.zeros((m, *b)) if m == T - 1 else jax.random.uniform(key_strata, (m, *b))
        # k = 1, the decoder, is always evaluated; the strata share k = 2 .. T.
        k = 2 + jnp.floor((jnp.arange(m)[:, None] + u) * ((T - 1) / m)).astype(jnp.int32)
        k = jnp.concatenate([jnp.ones((1, *b), jnp.int32), jnp.minimum(k, T)])

        def evaluate(i_and_k):
            i, k = i_and_k
            t, s = k.astype(x_0.dtype) / T, (k - 1).astype(x_0.dtype) / T
            eps = jax.random.normal(jax.random.fold_in(key_noise, i), x_0.shape, x_0.dtype)
            return vlb_term(p, schedule, x_0, q_sample(schedule, x_0, t, eps), t, s, levels)

        values = jax.lax.map(evaluate, (jnp.arange(m + 1), k))
        prior, decoder, kl = prior_term(schedule, x_0), values[0], values[1:].T
        return BoundTerms(prior, kl, k[1:].T, decoder, prior + jnp.sum(kl, 1) * ((T - 1) / m) + decoder)

    return bound
