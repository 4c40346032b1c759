"""Loss weights w(t) on ||D(x_t, t) - x_0||^2: every published loss is this one error with another weight."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from diffusion_jax import schedules
from diffusion_jax.ranges import within
from diffusion_jax.types import Schedule

__all__ = ['edm', 'flow', 'imm', 'min_snr', 'mu', 'snr', 'trig', 'truncated_snr', 'uniform', 'v']

Weight = Callable[[Array], Array]  # t [B] -> w [B]


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


def trig(schedule: Schedule) -> Weight:
    """TrigFlow's ||F - v / sigma_data||^2 = ||D - x_0||^2 / (sigma_data sin t)^2 (arXiv 2410.11081, eq. 25).

    Where sigma_data = 1 this is `v`.
    """
    return lambda t: 1 / schedule.sigma(t) ** 2


def imm(schedule: Schedule, a: float = 1.0, b: float = 5.0) -> Weight:
    """IMM's sigmoid(b - l) (-dl/dt) alpha^a / (2 (alpha^2 + sigma^2)), l the log-SNR (arXiv 2503.07565).

    So in reimplementations. Needs alpha, sigma > 0. a is in [0, inf), 1 or 2 there, and b, 5 there, in (-inf, inf).

    Raises:
        ValueError: a or b outside of its range.
    """
    within('[0, inf)', a=a)
    within('(-inf, inf)', b=b)

    def w(t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        log_snr, rate = jax.jvp(lambda t: schedules.log_snr(schedule, t), (t,), (jnp.ones_like(t),))
        return jax.nn.sigmoid(b - log_snr) * -rate * alpha**a / (2 * (alpha**2 + sigma**2))

    return w


def min_snr(schedule: Schedule, gamma: float = 5.0) -> Weight:
    """Min-SNR-gamma: min(SNR, gamma) (arXiv 2303.09556, section 3.4)."""
    return lambda t: jnp.minimum(schedules.snr(schedule, t), gamma)


def truncated_snr(schedule: Schedule) -> Weight:
    """Max(SNR, 1), the larger of the errors of x_0 and of eps (arXiv 2202.00512, section 4)."""
    return lambda t: jnp.maximum(schedules.snr(schedule, t), 1)
