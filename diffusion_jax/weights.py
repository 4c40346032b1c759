"""Loss weights w(t) on ||D(x_t, t) - x_0||^2: every published loss is this one error with another weight.

Consistency losses measure d(f(x_t, t), f(x_s, s)) instead: their distances d and weights w(t, s) are here as well.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax import schedules
from diffusion_jax.types import Schedule

__all__ = [
    'edm',
    'flow',
    'inverse_gap',
    'l1',
    'l2',
    'min_snr',
    'mu',
    'pseudo_huber',
    'snr',
    'truncated_snr',
    'uniform',
    'uniform_pair',
    'v',
]

Weight = Callable[[Array], Array]  # t [B] -> w [B]
PairWeight = Callable[[Array, Array], Array]  # (t [B], s [B]) -> w [B]
Distance = Callable[[Array, Array], Array]  # (a [B, ...], b [B, ...]) -> d [B]


def snr(schedule: Schedule) -> Weight:
    """DDPM's L_simple: ||eps_hat - eps||^2 = (alpha / sigma)^2 ||D - x_0||^2 (arXiv 2006.11239, eq. 14)."""
    return lambda t: schedules.snr(schedule, t)


def uniform() -> Weight:
    """Plain x_0 error."""
    return jnp.ones_like


def v(schedule: Schedule) -> Weight:
    """V-prediction error: (alpha^2 + sigma^2)^2 / sigma^2, SNR + 1 where variance is preserved (arXiv 2202.00512)."""
    return lambda t: ((schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2) / schedule.sigma(t)) ** 2


def mu(schedule: Schedule, T: int = 1000) -> Weight:
    """Unweighted error of the posterior mean (arXiv 2006.11239, eq. 8 without 1 / (2 sigma_t^2))."""
    return lambda t: schedules.posterior_coefficients(schedule, t, jnp.where(t < 1.5 / T, 0.0, t - 1 / T))[1] ** 2


def flow(schedule: Schedule) -> Weight:
    """Velocity error ||(eps - x_0) error||^2 = ((alpha + sigma) / sigma)^2 ||D - x_0||^2 (arXiv 2209.03003)."""
    return lambda t: ((schedule.alpha(t) + schedule.sigma(t)) / schedule.sigma(t)) ** 2


def edm(sigma_data: float = 0.5) -> Weight:
    """EDM's lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 (arXiv 2206.00364, table 1)."""
    return lambda t: (t**2 + sigma_data**2) / (t * sigma_data) ** 2


def min_snr(schedule: Schedule, gamma: float = 5.0) -> Weight:
    """Min-SNR-gamma: min(SNR, gamma) (arXiv 2303.09556, section 3.4)."""
    return lambda t: jnp.minimum(schedules.snr(schedule, t), gamma)


def truncated_snr(schedule: Schedule) -> Weight:
    """Max(SNR, 1), the larger of the errors of x_0 and of eps (arXiv 2202.00512, section 4)."""
    return lambda t: jnp.maximum(schedules.snr(schedule, t), 1)


def uniform_pair() -> PairWeight:
    """CD's and CT's lambda = 1 (arXiv 2303.01469, section 4)."""
    return lambda t, s: jnp.ones_like(t)


def inverse_gap() -> PairWeight:
    """ICT's and ECT's 1 / (t - s) (arXiv 2310.14189, section 3.1)."""
    return lambda t, s: 1 / (t - s)


def l1() -> Distance:
    """Mean absolute difference."""
    return lambda a, b: jnp.mean(jnp.abs(a - b), axis=_event(a))


def l2() -> Distance:
    """Mean squared difference."""
    return lambda a, b: jnp.mean((a - b) ** 2, axis=_event(a))


def pseudo_huber(c: float = 0.00054) -> Distance:
    """ICT's sqrt(||a - b||^2 + c_d^2) - c_d with c_d = c sqrt(d) in d dimensions (arXiv 2310.14189, section 3.3).

    A norm, not a mean: sqrt(d) times the same of the mean square.
    """

    def distance(a: Float[Array, 'b ...'], b: Float[Array, 'b ...']) -> Float[Array, ' b']:
        c_d = c * np.sqrt(np.prod(a.shape[1:])).item()
        square = jnp.sum((a - b) ** 2, axis=_event(a))
        # sqrt(square + c_d^2) - c_d, without the difference of two almost equal numbers
        return square / (jnp.sqrt(square + c_d**2) + c_d)

    return distance


def _event(x):
    return tuple(range(1, x.ndim))
