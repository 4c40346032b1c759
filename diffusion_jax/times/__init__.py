"""Time grids (decreasing, ending at clean data, t = 0), distributions of training times p(t), and pairs of them."""

from diffusion_jax.times.distributions import TimeDistribution as TimeDistribution
from diffusion_jax.times.distributions import (
    arctan_log_normal,
    continuous_uniform,
    discrete_uniform,
    karras_uniform,
    log_normal,
    logit_normal,
    low_discrepancy,
)
from diffusion_jax.times.grids import Grid as Grid
from diffusion_jax.times.grids import (
    at,
    first_of,
    karras,
    leading,
    linspace,
    log_snr,
    multistep,
    quadratic,
    trailing,
    uniform,
)
from diffusion_jax.times.pairs import Pairs as Pairs
from diffusion_jax.times.pairs import (
    continuous_pairs,
    dyadic_pairs,
    log_normal_pairs,
    logit_normal_pairs,
    neighbours,
    nested_pairs,
    uniform_pairs,
)
from diffusion_jax.times.strata import stratum, stratum_of_pairs

__all__ = [
    'arctan_log_normal',
    'at',
    'continuous_pairs',
    'continuous_uniform',
    'discrete_uniform',
    'dyadic_pairs',
    'first_of',
    'karras',
    'karras_uniform',
    'leading',
    'linspace',
    'log_normal',
    'log_normal_pairs',
    'log_snr',
    'logit_normal',
    'logit_normal_pairs',
    'low_discrepancy',
    'multistep',
    'neighbours',
    'nested_pairs',
    'quadratic',
    'stratum',
    'stratum_of_pairs',
    'trailing',
    'uniform',
    'uniform_pairs',
]
