"""Gaussian mixtures with diagonal covariance: data whose diffusion has a closed form at every time.

For x_0 ~ sum_k w_k N(m_k, s_k^2) and x_t = alpha x_0 + sigma eps, the marginal is again a mixture,
x_t ~ sum_k w_k N(alpha m_k, v_k) with v_k = alpha^2 s_k^2 + sigma^2, and the posterior of x_0 in each component is
Gaussian with mean m_k + (alpha s_k^2 / v_k) (x_t - alpha m_k). Everything below is read off these two lines.

Times are `[B]`; the results have the promoted type of the arguments, so float64 in is float64 out.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffusion_jax.ranges import whole, within
from diffusion_jax.types import Key, Schedule


class GaussianMixture(NamedTuple):
    """A mixture of K Gaussians in D dimensions, diagonal covariance. `stds` may be 0: points."""

    weights: Float[Array, ' k']  # sum to one
    means: Float[Array, 'k d']
    stds: Float[Array, 'k d']


def ring(k: int = 8, radius: float = 1.0, std: float = 0.05) -> GaussianMixture:
    """`k` equal components, in [1, 2^31), on a circle in the plane."""
    whole('[1, 2147483648)', k=k)
    angle = 2 * jnp.pi * jnp.arange(k) / k
    means = radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return _equal(means, std)


def grid(k: int = 5, extent: float = 1.0, std: float = 0.05) -> GaussianMixture:
    """`k` x `k` equal components on a square grid over [-extent, extent]^2, `k` in [1, 2^15)."""
    whole('[1, 32768)', k=k)
    line = jnp.linspace(-extent, extent, k)
    means = jnp.stack(jnp.meshgrid(line, line, indexing='ij'), axis=-1).reshape(k * k, 2)
    return _equal(means, std)


def cloud(k: int = 16, d: int = 64, scale: float = 0.5, seed: int = 0) -> GaussianMixture:
    """`k` components in `d` dimensions, each in [1, 2^31), of `random`, shrunk by `scale`, in (0, inf).

    A number of the data has about `scale` for its standard deviation, as the means are nearly all of its variance.
    """
    whole('[1, 2147483648)', k=k, d=d)
    within('(0, inf)', scale=scale)
    whole('[0, 4294967296)', seed=seed)
    drawn = random(jax.random.key(seed), k, d)
    return drawn._replace(means=scale * drawn.means, stds=scale * drawn.stds)


def random(key: Key, k: int, d: int) -> GaussianMixture:
    """`k` components in `d` dimensions: means N(0, 1), stds in [0.1, 0.5], weights from a flat Dirichlet."""
    key_means, key_stds, key_weights = jax.random.split(key, 3)
    return GaussianMixture(
        weights=jax.random.dirichlet(key_weights, jnp.ones(k)),
        means=jax.random.normal(key_means, (k, d)),
        stds=jax.random.uniform(key_stds, (k, d), minval=0.1, maxval=0.5),
    )


def sample(mixture: GaussianMixture, key: Key, n: int) -> Float[Array, 'n d']:
    """`n` independent points."""
    return sample_labelled(mixture, key, n)[0]


def sample_labelled(mixture: GaussianMixture, key: Key, n: int) -> tuple[Float[Array, 'n d'], Int[Array, ' n']]:
    """`n` independent points and the component that each came from."""
    key_component, key_noise = jax.random.split(key)
    component = jax.random.categorical(key_component, jnp.log(mixture.weights), shape=(n,)).astype(jnp.int32)
    noise = jax.random.normal(key_noise, (n, mixture.means.shape[1]), mixture.means.dtype)
    return mixture.means[component] + mixture.stds[component] * noise, component


def denoiser(mixture: GaussianMixture, schedule: Schedule) -> Callable[[Array, Array], Array]:
    """The exact denoiser `(x_t [B, D], t [B]) -> E[x_0 | x_t] [B, D]`, finite where alpha = 0 and where sigma = 0."""

    def denoise(x: Float[Array, 'b d'], t: Float[Array, ' b']) -> Float[Array, 'b d']:
        noised = _noised(mixture, schedule, x, t)
        means, stds = mixture.means[None], mixture.stds[None]
        posterior = means + noised.alpha * stds**2 * noised.residual / noised.variance
        return jnp.sum(jax.nn.softmax(noised.log_joint, axis=1)[:, :, None] * posterior, axis=1)

    return denoise


def classifier(mixture: GaussianMixture, schedule: Schedule) -> Callable[[Array, Array], Array]:
    """The exact classifier `(x_t [B, D], t [B]) -> log p(k | x_t) [B, K]`, that of the components."""
    return lambda x, t: jax.nn.log_softmax(_noised(mixture, schedule, x, t).log_joint, axis=1)


def score(
    mixture: GaussianMixture, schedule: Schedule, x: Float[Array, 'b d'], t: Float[Array, ' b']
) -> Float[Array, 'b d']:
    """Gradient in x of `log_prob`; finite where alpha = 0, and where sigma = 0 unless a std is 0."""
    noised = _noised(mixture, schedule, x, t)
    responsibility = jax.nn.softmax(noised.log_joint, axis=1)[:, :, None]
    return -jnp.sum(responsibility * noised.residual / noised.variance, axis=1)


def log_prob(
    mixture: GaussianMixture, schedule: Schedule, x: Float[Array, 'b d'], t: Float[Array, ' b']
) -> Float[Array, ' b']:
    """Log density of the marginal p_t at x, in nats; at t = 0 that of the data."""
    return jax.nn.logsumexp(_noised(mixture, schedule, x, t).log_joint, axis=1)


class _Noised(NamedTuple):
    alpha: Array  # [B, 1, 1]
    residual: Array  # x - alpha m_k, [B, K, D]
    variance: Array  # v_k, [B, K, D]
    log_joint: Array  # log w_k + log N(x; alpha m_k, v_k), [B, K]


def _noised(mixture: GaussianMixture, schedule: Schedule, x: Array, t: Array) -> _Noised:
    alpha, sigma = schedule.alpha(t)[:, None, None], schedule.sigma(t)[:, None, None]
    residual = x[:, None, :] - alpha * mixture.means[None]
    variance = alpha**2 * mixture.stds[None] ** 2 + sigma**2
    # A point component at sigma = 0 has no variance: the floor keeps the nearest point's posterior instead of 0 / 0.
    variance = jnp.maximum(variance, jnp.sqrt(jnp.finfo(variance.dtype).tiny))
    log_normal = -0.5 * jnp.sum(residual**2 / variance + jnp.log(2 * jnp.pi * variance), axis=-1)
    return _Noised(alpha, residual, variance, jnp.log(mixture.weights)[None] + log_normal)


def _equal(means: Array, std: float) -> GaussianMixture:
    k = means.shape[0]
    return GaussianMixture(jnp.full(k, 1 / k, means.dtype), means, jnp.full_like(means, std))
