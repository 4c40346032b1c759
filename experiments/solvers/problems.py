"""Mixtures in 2, 64 and 3072 dimensions with their exact denoisers, and exact end points of given noises."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture as Fit

from diffusion_jax import schedules
from diffusion_jax.data import mixture
from diffusion_jax.data.mixture import GaussianMixture
from diffusion_jax.types import Array, Schedule

_TABLE = schedules.DiscreteVP(schedules.linear_betas())
_LEVEL_AT_END = 1e-5  # from here the denoiser is the end point, to less than the tolerance


class Problem(NamedTuple):
    """Data, and the schedule whose noise is taken off them."""

    name: str
    mixture: GaussianMixture
    schedule: Schedule
    t_max: float
    batch: int


def problems() -> list[Problem]:
    """Three mixtures, each on EDM's VE and on DDPM's table."""
    data: dict[str, tuple[GaussianMixture, int]] = {
        '2': (mixture.ring(), 256),
        '64': (digits(), 128),
        '3072': (image_like(), 256),
    }
    ends: dict[str, tuple[Schedule, float]] = {'EDM': (schedules.VE(), 80.0), 'DDPM': (_TABLE, 1.0)}
    return [
        Problem(f'{dim}, {end}', _float64(*components), schedule, t_max, batch)
        for dim, (components, batch) in data.items()
        for end, (schedule, t_max) in ends.items()
    ]


def digits() -> GaussianMixture:
    """Ten components fitted to scikit-learn's 8 x 8 digits in [-1, 1], in the axes of their covariance."""
    x = load_digits(return_X_y=True)[0] / 8 - 1
    x = x @ np.linalg.eigh(np.cov(x.T))[1]
    fit = Fit(10, covariance_type='diag', reg_covar=1e-4, random_state=0).fit(x)
    return _float64(fit.weights_, fit.means_, np.sqrt(np.asarray(fit.covariances_)))


def image_like(k: int = 4, size: int = 32, channels: int = 3) -> GaussianMixture:
    """Components in the axes of a 2-D cosine transform, with standard deviations that fall like 1 / frequency.

    Natural images have such spectra; the pixels' standard deviation is 0.5, most of it within components.
    """
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.arange(size), np.arange(size), indexing='ij')).ravel()
    std = np.tile(1 / (1 + frequency), channels)
    std *= 0.5 / np.sqrt(np.mean(std**2))
    means = 0.6 * std * rng.normal(size=(k, len(std)))
    return _float64(np.full(k, 1 / k), means, 0.8 * std * np.exp(0.3 * rng.normal(size=(k, 1))))


def start(problem: Problem, seed: int) -> Array:
    """Noise to start from, `[B, D]` in float64, at the schedule's t_max."""
    d = problem.mixture.means.shape[1]
    eps = jax.random.normal(jax.random.key(seed), (problem.batch, d), jnp.float64)
    return problem.schedule.sigma(jnp.asarray(problem.t_max)) * eps


def end_points(problem: Problem, x: Array) -> np.ndarray:
    """The exact end points of the probability-flow ODE, by SciPy's DOP853 at a relative tolerance of 1e-10.

    In u = log(sigma / alpha) and y = x / alpha it is dy/du = y - D(y, e^u), whatever the schedule.
    """
    t = jnp.asarray(problem.t_max)
    alpha, sigma = float(problem.schedule.alpha(t)), float(problem.schedule.sigma(t))
    denoise = jax.jit(mixture.denoiser(problem.mixture, schedules.VE()))

    def at(y, level):
        return np.asarray(denoise(y.reshape(x.shape), jnp.full(len(x), level)))

    ends = np.log([sigma / alpha, _LEVEL_AT_END])
    solution = solve_ivp(
        lambda u, y: y - at(y, np.exp(u)).ravel(), ends, np.asarray(x).ravel() / alpha, 'DOP853', ends,
        rtol=1e-10, atol=1e-10,
    )  # fmt: skip
    return at(solution.y[:, -1], _LEVEL_AT_END)


def _float64(*parts) -> GaussianMixture:
    return GaussianMixture(*(jnp.asarray(a, jnp.float64) for a in parts))
