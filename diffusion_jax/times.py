"""Time grids (decreasing, ending at clean data, t = 0), distributions of training times p(t), and pairs of them.

Grids are float64 NumPy vectors `[n + 1]`: n steps, from the noisiest time to 0. Those that take `T` lie on the points
k / T of DDPM's table. Distributions are functions `(key, shape) -> t`. Pairs, for consistency training,
are functions `(key, shape, step) -> (t, s)` with t > s; those of flow maps have t = s as well.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax import schedules
from diffusion_jax.curricula import Curriculum
from diffusion_jax.types import Key, Schedule

__all__ = [
    'arctan_log_normal',
    'at',
    'continuous_pairs',
    'continuous_uniform',
    'discrete_uniform',
    'dyadic_pairs',
    'karras',
    'leading',
    'log_normal',
    'log_normal_pairs',
    'log_snr',
    'logit_normal',
    'logit_normal_pairs',
    'multistep',
    'neighbours',
    'quadratic',
    'trailing',
    'uniform',
    'uniform_pairs',
]

Grid = Float[np.ndarray, ' n_plus_1']
TimeDistribution = Callable[[Key, tuple[int, ...]], Array]
Pairs = Callable[[Key, tuple[int, ...], Array], tuple[Array, Array]]


def uniform(n: int, t_max: float = 1.0) -> Grid:
    """Equal steps from t_max to 0; for T divisible by n and t_max = 1, the DDIM sub-sequence that starts at T."""
    return t_max * np.arange(_steps(n), -1, -1) / n


def trailing(n: int, T: int = 1000) -> Grid:
    """Equal steps of T / n rounded to the table, from k = T down (diffusers' `trailing`; arXiv 2305.08891, table 2)."""
    return np.round(np.arange(_steps(n, T), -1, -1) * (T / n)) / T


def leading(n: int, T: int = 1000) -> Grid:
    """DDIM's released uniform sub-sequence: k = 1 + i floor(T / n), so that n = 10 starts at k = 901 of 1000."""
    return _to_zero(1 + np.arange(_steps(n, T)) * (T // n), T)


def quadratic(n: int, T: int = 1000, t_max: float = 0.8) -> Grid:
    """DDIM's quadratic sub-sequence, k = 1 + floor(i^2 t_max T / (n - 1)^2) (arXiv 2010.02502, appendix D.2).

    As released it ends at 0.8 T. There it also repeats small indices from about n = 50 on, each a wasted evaluation;
    here a repeated index moves up to the next free one.
    """
    i = np.arange(_steps(n, T))
    root = np.linspace(0, np.sqrt(t_max * T), n) if n > 1 else np.sqrt([t_max * T])
    k = 1 + np.floor(root**2 + 1e-9)
    # With t_max = 1 the formula's last index is T, one beyond the table.
    return _to_zero(np.minimum(np.maximum.accumulate(k - i) + i, T - n + 1 + i), T)


def karras(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Grid:
    """EDM's grid for the VE schedule: n levels equally spaced in sigma^(1/rho), then 0 (arXiv 2206.00364, eq. 5)."""
    i = np.arange(_steps(n)) / max(n - 1, 1)
    return np.append((sigma_max ** (1 / rho) + i * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho, 0.0)


def multistep(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Grid:
    """`n` levels for multistep consistency sampling: Karras' grid of n + 1 levels, whose last, sigma_min, is left out.

    A consistency function is the identity at sigma_min: an evaluation there would be wasted.
    """
    return np.append(karras(_steps(n) + 1, sigma_min, sigma_max, rho)[:n], 0.0)


def at(times: str | float | int | Sequence[float | int]) -> Grid:
    """The given times, then 0 if it is not the last of them: `[80, 0.821]`, or '80/0.821' as on a command line.

    Raises:
        ValueError: for times that do not decrease, are negative or not finite, or make no step.
    """
    parts = times.split('/') if isinstance(times, str) else np.atleast_1d(times)
    t = np.array([float(part) for part in parts])
    if not (np.isfinite(t).all() and (np.diff(t) < 0).all() and (t >= 0).all() and (t > 0).any()):
        raise ValueError(f'times must be finite, decrease and not be negative, and the first be above 0; got {times!r}')
    return t if t[-1] == 0 else np.append(t, 0.0)


def log_snr(n: int, schedule: Schedule, t_min: float = 1e-3, t_max: float = 1.0) -> Grid:
    """`n` times from t_max to t_min equally spaced in log-SNR, then 0 (DPM-Solver, arXiv 2206.00927).

    Raises:
        ValueError: where the log-SNR is not finite, as at a t_max with alpha = 0.
    """
    lam_min, lam_max = (float(schedules.log_snr(schedule, jnp.asarray(t))) for t in (t_max, t_min))
    if not np.isfinite([lam_min, lam_max]).all():
        raise ValueError(f'log-SNR must be finite at t_max = {t_max} and t_min = {t_min}; got {lam_min} and {lam_max}')
    targets = np.linspace(lam_min, lam_max, _steps(n))
    lo, hi = np.full(n, t_min), np.full(n, t_max)
    for _ in range(60):
        mid = (lo + hi) / 2
        noisier = np.asarray(schedules.log_snr(schedule, jnp.asarray(mid))) < targets
        lo, hi = np.where(noisier, lo, mid), np.where(noisier, mid, hi)
    return np.concatenate([[t_max], ((lo + hi) / 2)[1:], [0.0]])


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


def neighbours(grid: Grid) -> Pairs:
    """Neighbours t, s of any of the grids above, each pair as probable, the one that ends at clean data included.

    For consistency functions that are the identity at t = 0 (see `precond.v`).
    """
    t, s = grid[:-1], grid[1:]

    def pairs(key, shape, step):
        n = jax.random.randint(key, shape, 0, len(t))
        return jnp.asarray(t, float)[n], jnp.asarray(s, float)[n]

    return pairs


def arctan_log_normal(P_mean: float = -1.0, P_std: float = 1.4, sigma_data: float = 1.0) -> TimeDistribution:
    """SCM's angles, t = arctan(e^tau / sigma_data) with tau ~ N(P_mean, P_std^2) (arXiv 2410.11081, algorithm 1).

    EDM's log-normal sigma = sigma_data tan t on TrigFlow; the default is the paper's for CIFAR-10 (appendix G.2).
    """
    return lambda key, shape: jnp.arctan(log_normal(P_mean, P_std)(key, shape) / sigma_data)


def uniform_pairs(N: Curriculum, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Pairs:
    """CD's and CT's neighbours t_{n+1}, t_n, n uniform on 1 .. N - 1, of Karras' grid (arXiv 2303.01469, section 4)."""

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
    """
    lo, hi = ((np.log(sigma) - P_mean) / P_std for sigma in (sigma_min, sigma_max))

    def pairs(key, shape, step):
        sigma = jnp.exp(P_mean + P_std * jax.random.truncated_normal(key, lo, hi, shape))
        u = (sigma ** (1 / rho) - sigma_min ** (1 / rho)) / (sigma_max ** (1 / rho) - sigma_min ** (1 / rho))
        n = 1 + jnp.clip(jnp.floor(u * (N(step) - 1)), 0, N(step) - 2)
        return _neighbours(n, N(step), sigma_min, sigma_max, rho)

    return pairs


def continuous_pairs(
    every: int, P_mean: float = -1.1, P_std: float = 2.0, q: float = 2.0, k: float = 8.0, b: float = 1.0
) -> Pairs:
    """ECT's: ln t ~ N(P_mean, P_std^2), s = max(0, t (1 - n(t) / q^a)), n(t) = 1 + k sigmoid(-b t).

    Source: arXiv 2406.14548, with a = 1 + floor(step / every) as in the released code; where s = 0 the loss is the
    denoising one, as at the start for most t.
    """

    def pairs(key, shape, step):
        t = log_normal(P_mean, P_std)(key, shape)
        n = 1 + k * jax.nn.sigmoid(-b * t)
        a = 1 + step // every
        # Floored, so that t - s keeps some digits however many stages there are.
        gap = jnp.maximum(n * q ** -a.astype(t.dtype), jnp.sqrt(jnp.finfo(t.dtype).eps))
        return t, jnp.maximum(t * (1 - gap), 0)

    return pairs


def logit_normal_pairs(mean: float = -0.4, std: float = 1.0, share: float = 0.25) -> Pairs:
    """MeanFlow's: the larger and the smaller of two logit-normal draws (arXiv 2505.13447, section 4.3).

    With probability 1 - share the smaller is set to t, exactly; the released code counts off that part of a batch.
    """

    def pairs(key, shape, step):
        key_times, key_share = jax.random.split(key)
        a, b = logit_normal(mean, std)(key_times, (2, *shape))
        t = jnp.maximum(a, b)
        return t, jnp.where(jax.random.bernoulli(key_share, share, shape), jnp.minimum(a, b), t)

    return pairs


def dyadic_pairs(M: int = 128, share: float = 0.25) -> Pairs:
    """Shortcut models': steps d = 1, 1/2, .. 2/M, equally probable, from a multiple of d (arXiv 2410.12557, section 3).

    With probability 1 - share s = t, a multiple of 1 / M. The share is each pair's own probability, as above.

    Raises:
        ValueError: M is no power of two above 1.
    """
    if M < 2 or M & (M - 1):
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


def _steps(n, T=None):
    if n < 1 or (T is not None and n > T):
        raise ValueError(f'a grid needs at least 1 step{"" if T is None else f" and at most T = {T}"}; got {n}')
    return n


def _to_zero(increasing_k, T):
    return np.append(increasing_k[::-1] / T, 0.0)
