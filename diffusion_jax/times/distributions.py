"""Distributions of training times p(t): functions `(key, shape) -> t`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion_jax.types import Array, Key

TimeDistribution = Callable[[Key, tuple[int, ...]], Array]


def discrete_uniform(T: int = 1000) -> TimeDistribution:
    """DDPM's p(t): uniform on the table's points {1, .., T} / T (arXiv 2006.11239, algorithm 1)."""
    return lambda key, shape: jax.random.randint(key, shape, 1, T + 1) / T


def continuous_uniform(t_min: float = 1e-5, t_max: float = 1.0) -> TimeDistribution:
    """Uniform on [t_min, t_max)."""
    return lambda key, shape: jax.random.uniform(key, shape, minval=t_min, maxval=t_max)


def log_normal(P_mean: float = -1.2, P_std: float = 1.2) -> TimeDistribution:
    """EDM's p(sigma): ln sigma ~ N(P_mean, P_std^2) (arXiv 2206.00364, table 1)."""
    return lambda key, shape: jnp.exp(P_mean + P_std * jax.random.normal(key, shape))


def logit_normal(mean: float = 0.0, std: float = 1.0) -> TimeDistribution:
    """Logit-normal on (0, 1) (arXiv 2403.03206, eq. 19)."""
    return lambda key, shape: jax.nn.sigmoid(mean + std * jax.random.normal(key, shape))


def arctan_log_normal(P_mean: float = -1.0, P_std: float = 1.4, sigma_data: float = 1.0) -> TimeDistribution:
    """SCM's angles, t = arctan(e^tau / sigma_data) with tau ~ N(P_mean, P_std^2) (arXiv 2410.11081, algorithm 1).

    EDM's log-normal sigma = sigma_data tan t on TrigFlow; the default is the paper's for CIFAR-10 (appendix G.2).
    """
    return lambda key, shape: jnp.arctan(log_normal(P_mean, P_std)(key, shape) / sigma_data)
