"""Schedules: a Gaussian path x_t = alpha(t) x_0 + sigma(t) eps is two functions; all else follows from them.

A schedule is a frozen pytree with `alpha(t)`, `sigma(t)` and `t_max`. Time runs from 0 (clean data) to `t_max` (noise):
1 for the variance-preserving schedules and rectified flow, pi/2 for TrigFlow, sigma_max for VE. The free functions
below take a schedule and times of any shape; where they also take samples `x [B, ...]`, `t` is `[]` or `[B]`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.masking import CosineMasking, PolynomialMasking
from diffusion_jax.ranges import ascending, whole, within
from diffusion_jax.types import Schedule

__all__ = [
    'VE',
    'CosineMasking',
    'CosineVP',
    'DiscreteVP',
    'LinearVP',
    'PolynomialMasking',
    'RectifiedFlow',
    'TrigFlow',
    'cosine_betas',
    'linear_betas',
    'scaled_linear_betas',
]


def linear_betas(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> np.ndarray:
    """DDPM's betas `[T]` in float64, linear in k (arXiv 2006.11239, section 4).

    iDDPM keeps the end points in continuous time: pass `beta_1 = 0.1 / T, beta_T = 20 / T`.

    Raises:
        ValueError: T is not a whole number in [1, inf), or beta_1 or beta_T not in (0, 1].
    """
    whole('[1, inf)', T=T)
    within('(0, 1]', beta_1=beta_1, beta_T=beta_T)
    return np.linspace(beta_1, beta_T, T)


def scaled_linear_betas(T: int = 1000, beta_1: float = 0.00085, beta_T: float = 0.012) -> np.ndarray:
    """Stable Diffusion's betas `[T]` in float64, whose square roots are linear in k (its released code).

    Raises:
        ValueError: T is not a whole number in [1, inf), or beta_1 or beta_T not in (0, 1].
    """
    whole('[1, inf)', T=T)
    within('(0, 1]', beta_1=beta_1, beta_T=beta_T)
    return np.linspace(beta_1**0.5, beta_T**0.5, T) ** 2


def cosine_betas(T: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> np.ndarray:
    """IDDPM's betas `[T]` in float64 from abar(t) = f(t) / f(0), f(t) = cos^2((t + s) / (1 + s) pi / 2), clipped.

    Source: arXiv 2102.09672, eq. 17; the clip at 0.999 is in the text below it.

    Raises:
        ValueError: T is not a whole number in [1, inf), s not in [0, inf) or max_beta not in (0, 1].
    """
    whole('[1, inf)', T=T)
    within('[0, inf)', s=s)
    within('(0, 1]', max_beta=max_beta)
    f = np.cos((np.arange(T + 1) / T + s) / (1 + s) * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], max_beta)


@jax.tree_util.register_pytree_node_class
class DiscreteVP:
    """DDPM's table as a schedule: exact at t = k / T for k = 0 .. T, where k = 0 is clean data (abar = 1).

    Between the points of the table abar is linear in t, so that alpha^2 + sigma^2 = 1 at every t and a table that ends
    at abar = 0 stays finite. At a point derivatives are those of the step below it.

    Args:
        betas: `[T]`, at least one, the variances of q(x_k | x_{k-1}), each in (0, 1].

    Raises:
        ValueError: for other betas.
    """

    def __init__(self, betas: np.ndarray):
        betas = np.asarray(betas, np.float64)
        if betas.ndim != 1 or not len(betas) or not ((betas > 0) & (betas <= 1)).all():
            raise ValueError(f'betas must be a vector of values in (0, 1]; got shape {betas.shape}')
        # 1 - abar has its own table: near t = 0 the difference would lose half of float32's digits.
        exact_zero = np.concatenate([[False], np.cumsum(betas == 1) > 0])
        log_alpha_bar = np.concatenate([[0.0], np.cumsum(np.log1p(-np.where(betas == 1, 0, betas)))])
        self.alpha_bar = np.where(exact_zero, 0.0, np.exp(log_alpha_bar))
        self.one_minus_alpha_bar = np.where(exact_zero, 1.0, -np.expm1(log_alpha_bar))

    @property
    def T(self) -> int:
        """Number of steps in the table."""
        return self.alpha_bar.shape[0] - 1

    @property
    def t_max(self) -> float:
        """The noisiest time."""
        return 1.0

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Signal scale sqrt(abar)."""
        return _root(self._interpolate(self.alpha_bar, t))

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Noise scale sqrt(1 - abar)."""
        return _root(self._interpolate(self.one_minus_alpha_bar, t))

    def _interpolate(self, table, t):
        table = jnp.asarray(table, t.dtype)
        u = t * self.T
        # k / T times T can miss k by a rounding, and at the steep end of a table that costs 1e-4 of alpha: snap to k.
        off = jax.lax.stop_gradient(jnp.round(u) - u)
        u = u + jnp.where(jnp.abs(off) <= 2 * jnp.finfo(t.dtype).eps * u, off, 0)
        # At a point of the table the slope is that of the step from it, as `rates` of a sampler's times want it; `clip`
        # would halve it there.
        k = jnp.clip(jnp.ceil(u).astype(jnp.int32) - 1, 0, self.T - 1)
        w = jnp.where(u < 0, 0, jnp.where(u > self.T, 1, u - k))
        return (1 - w) * table[k] + w * table[k + 1]

    def tree_flatten(self):
        """Both tables are leaves."""
        return (self.alpha_bar, self.one_minus_alpha_bar), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        """Inverse of `tree_flatten`."""
        self = object.__new__(cls)
        self.alpha_bar, self.one_minus_alpha_bar = leaves
        return self


def _root(v):
    """sqrt, with derivative 0 instead of infinity at 0: a grid that ends there has derivatives in its other times."""
    zero = v == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, v)))


def _pytree(cls):
    """A frozen dataclass without leaves: the structure holds the object itself.

    Not `register_dataclass`: structures of two such classes with equal fields compare equal (jaxlib 0.10), though their
    hashes differ, so that now and then a jitted function takes one schedule's compiled code for the other's.
    """
    return jax.tree_util.register_static(dataclass(frozen=True)(cls))


@_pytree
class LinearVP:
    """The continuous-time limit of DDPM: beta(t) linear (arXiv 2011.13456, appendix B, eq. 29 and 33); t in [0, 1].

    beta_min is in [0, inf) and beta_max in (0, inf); anything else is a ValueError.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self):
        within('[0, inf)', beta_min=self.beta_min)
        within('(0, inf)', beta_max=self.beta_max)

    @property
    def t_max(self) -> float:
        """The noisiest time."""
        return 1.0

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Signal scale exp(-1/2 int_0^t beta)."""
        return jnp.exp(-self._half_integral(t))

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Noise scale sqrt(1 - alpha^2)."""
        return _root(-jnp.expm1(-2 * self._half_integral(t)))

    def _half_integral(self, t):
        return (self.beta_max - self.beta_min) * t**2 / 4 + self.beta_min * t / 2


@_pytree
class CosineVP:
    """Cosine schedule alpha = cos(pi t / 2), sigma = sin(pi t / 2); t in [0, 1], with alpha(1) = 0."""

    @property
    def t_max(self) -> float:
        """The noisiest time."""
        return 1.0

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Signal scale."""
        return jnp.cos(jnp.pi / 2 * t)

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Noise scale."""
        return jnp.sin(jnp.pi / 2 * t)


@_pytree
class VE:
    """Variance exploding with sigma = t, EDM's choice (arXiv 2206.00364, table 1); t in [0, sigma_max].

    The range of noise levels does not enter alpha and sigma: it is here for grids, pairs of times and the boundary
    condition of consistency models to agree on. sigma_min is in [0, inf) and below sigma_max, which is in (0, inf);
    anything else is a ValueError.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self):
        within('[0, inf)', sigma_min=self.sigma_min)
        within('(0, inf)', sigma_max=self.sigma_max)
        ascending(sigma_min=self.sigma_min, sigma_max=self.sigma_max)

    @property
    def t_max(self) -> float:
        """The noisiest time."""
        return self.sigma_max

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Signal scale 1."""
        return jnp.ones_like(t)

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Noise scale t."""
        return t


@_pytree
class RectifiedFlow:
    """Straight paths x_t = (1 - t) x_0 + t eps (arXiv 2209.03003); t in [0, 1], with alpha(1) = 0."""

    @property
    def t_max(self) -> float:
        """The noisiest time."""
        return 1.0

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Signal scale 1 - t."""
        return 1 - t

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Noise scale t."""
        return t


@_pytree
class TrigFlow:
    """x_t = cos(t) x_0 + sin(t) sigma_data eps (arXiv 2410.11081, section 3); t in [0, pi/2], with alpha(pi/2) = 0.

    sigma_data is in (0, inf); anything else is a ValueError.
    """

    sigma_data: float = 1.0

    def __post_init__(self):
        within('(0, inf)', sigma_data=self.sigma_data)

    @property
    def t_max(self) -> float:
        """The noisiest time."""
        return np.pi / 2

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Signal scale cos t."""
        return jnp.cos(t)

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Noise scale sigma_data sin t."""
        return self.sigma_data * jnp.sin(t)


def snr(schedule: Schedule, t: Float[Array, '*t']) -> Float[Array, '*t']:
    """Signal-to-noise ratio alpha^2 / sigma^2; infinite at t = 0."""
    return (schedule.alpha(t) / schedule.sigma(t)) ** 2


def log_snr(schedule: Schedule, t: Float[Array, '*t']) -> Float[Array, '*t']:
    """Log of the signal-to-noise ratio, decreasing in t."""
    return 2 * (jnp.log(schedule.alpha(t)) - jnp.log(schedule.sigma(t)))


def rates(schedule: Schedule, t: Float[Array, '*t']) -> tuple[Float[Array, '*t'], Float[Array, '*t']]:
    """Time derivatives (alpha'(t), sigma'(t)), by forward-mode differentiation."""
    one = jnp.ones_like(t)
    return jax.jvp(schedule.alpha, (t,), (one,))[1], jax.jvp(schedule.sigma, (t,), (one,))[1]


def q_sample(
    schedule: Schedule, x_0: Float[Array, 'b ...'], t: Float[Array, '*b'], eps: Float[Array, 'b ...']
) -> Float[Array, 'b ...']:
    """x_t ~ q(x_t | x_0) for a given standard normal eps (arXiv 2006.11239, eq. 4)."""
    return per_sample(schedule.alpha(t), x_0) * x_0 + per_sample(schedule.sigma(t), x_0) * eps


def eps_from_x_0(
    schedule: Schedule, x_t: Float[Array, 'b ...'], x_0: Float[Array, 'b ...'], t: Float[Array, '*b']
) -> Float[Array, 'b ...']:
    """The noise that x_t holds beside x_0; needs sigma(t) > 0, and alpha(t) may be 0."""
    return (x_t - per_sample(schedule.alpha(t), x_t) * x_0) / per_sample(schedule.sigma(t), x_t)


def transition(
    schedule: Schedule, t: Float[Array, '*b'], s: Float[Array, '*b']
) -> tuple[Float[Array, '*b'], Float[Array, '*b']]:
    """Scale and variance of q(x_t | x_s), s < t, alpha(s) > 0: DDPM's sqrt(1 - beta_t), beta_t on any sub-sequence."""
    alpha_ts = schedule.alpha(t) / schedule.alpha(s)
    return alpha_ts, jnp.maximum(schedule.sigma(t) ** 2 - (alpha_ts * schedule.sigma(s)) ** 2, 0)


def posterior_variance(schedule: Schedule, t: Float[Array, '*b'], s: Float[Array, '*b']) -> Float[Array, '*b']:
    """Variance of q(x_s | x_t, x_0), DDPM's beta-tilde (arXiv 2006.11239, eq. 7); 0 at s = 0."""
    return transition(schedule, t, s)[1] * (schedule.sigma(s) / schedule.sigma(t)) ** 2


def posterior_coefficients(
    schedule: Schedule, t: Float[Array, '*b'], s: Float[Array, '*b']
) -> tuple[Float[Array, '*b'], Float[Array, '*b']]:
    """The factors of x_t and of x_0 in the mean of q(x_s | x_t, x_0) (arXiv 2006.11239, eq. 7); alpha(t) may be 0."""
    alpha_ts, var_ts = transition(schedule, t, s)
    var_s, var_t = schedule.sigma(s) ** 2, schedule.sigma(t) ** 2
    return alpha_ts * var_s / var_t, schedule.alpha(s) * var_ts / var_t


def posterior_mean(
    schedule: Schedule,
    x_t: Float[Array, 'b ...'],
    x_0: Float[Array, 'b ...'],
    t: Float[Array, '*b'],
    s: Float[Array, '*b'],
) -> Float[Array, 'b ...']:
    """Mean of q(x_s | x_t, x_0) (arXiv 2006.11239, eq. 7)."""
    c_t, c_0 = posterior_coefficients(schedule, t, s)
    return per_sample(c_t, x_t) * x_t + per_sample(c_0, x_t) * x_0
