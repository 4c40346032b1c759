"""Distributions of training times p(t): functions `(key, shape) -> t`.

An argument outside of the range that its docstring gives is a ValueError.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion_jax.ranges import ascending, whole, within
from diffusion_jax.types import Array, Key

TimeDistribution = Callable[[Key, tuple[int, ...]], Array]


def discrete_uniform(T: int = 1000) -> TimeDistribution:
    """DDPM's p(t): uniform on the table's points {1, .., T} / T, T in [1, inf) (arXiv 2006.11239, algorithm 1)."""
    whole('[1, inf)', T=T)
    return lambda key, shape: jax.random.randint(key, shape, 1, T + 1) / T


def continuous_uniform(t_min: float = 1e-5, t_max: float = 1.0) -> TimeDistribution:
    """Uniform on [t_min, t_max): t_min in [0, inf), below t_max in (0, inf)."""
    within('[0, inf)', t_min=t_min)
    within('(0, inf)', t_max=t_max)
    ascending(t_min=t_min, t_max=t_max)
    return lambda key, shape: jax.random.uniform(key, shape, minval=t_min, maxval=t_max)


def low_discrepancy(t_max: float = 1.0) -> TimeDistribution:
    """Uniform on [0, t_max) for each of n samples, t_max / n apart: t_max ((u + i / n) mod 1), one u for all.

    VDM's times (arXiv 2107.00630, appendix I.1), so that the mean over a batch varies less. t_max is in (0, inf).
    """
    within('(0, inf)', t_max=t_max)

    def draw(key, shape):
        n = math.prod(shape)
        apart = (jax.random.uniform(key) + jnp.arange(n) / n) % 1
        return t_max * apart.reshape(shape)

    return draw


def log_normal(P_mean: float = -1.2, P_std: float = 1.2) -> TimeDistribution:
    """EDM's p(sigma): ln sigma ~ N(P_mean, P_std^2) (arXiv 2206.00364, table 1).

    P_mean is in (-inf, inf) and P_std in [0, inf).
    """
    within('(-inf, inf)', P_mean=P_mean)
    within('[0, inf)', P_std=P_std)
    return lambda key, shape: jnp.exp(P_mean + P_std * jax.random.normal(key, shape))


def karras_uniform(
    low: float = 0.02, high: float = 0.98, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> TimeDistribution:
    """Sigma^(1/rho) uniform between shares low and high of its way from sigma_min to sigma_max: DMD's T_min and T_max.

    The grid is EDM's (arXiv 2206.00364, eq. 5), the shares are DMD's (arXiv 2311.18828, below eq. 8); DMD2's released
    code takes them on a grid of 1000. low and high are in [0, 1], low below high; sigma_min, sigma_max and rho are in
    (0, inf), sigma_min below sigma_max.
    """
    within('[0, 1]', low=low, high=high)
    ascending(low=low, high=high)
    within('(0, inf)', sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    ascending(sigma_min=sigma_min, sigma_max=sigma_max)
    least, most = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    share = continuous_uniform(low, high)
    return lambda key, shape: (least + share(key, shape) * (most - least)) ** rho


def logit_normal(mean: float = 0.0, std: float = 1.0) -> TimeDistribution:
    """Logit-normal on (0, 1), mean in (-inf, inf) and std in [0, inf) (arXiv 2403.03206, eq. 19)."""
    within('(-inf, inf)', mean=mean)
    within('[0, inf)', std=std)
    return lambda key, shape: jax.nn.sigmoid(mean + std * jax.random.normal(key, shape))


def arctan_log_normal(P_mean: float = -1.0, P_std: float = 1.4, sigma_data: float = 1.0) -> TimeDistribution:
    """SCM's angles, t = arctan(e^tau / sigma_data) with tau ~ N(P_mean, P_std^2) (arXiv 2410.11081, algorithm 1).

    EDM's log-normal sigma = sigma_data tan t on TrigFlow; the default is the paper's for CIFAR-10 (appendix G.2).
    P_mean is in (-inf, inf), P_std in [0, inf) and sigma_data in (0, inf).
    """
    within('(0, inf)', sigma_data=sigma_data)
    sigma = log_normal(P_mean, P_std)
    return lambda key, shape: jnp.arctan(sigma(key, shape) / sigma_data)
