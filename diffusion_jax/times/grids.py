"""Time grids: float64 NumPy vectors `[n + 1]`, n steps from the noisiest time to 0, clean data.

Those that take `T` lie on the points k / T of DDPM's table. In all of them n and T are whole numbers in [1, inf), with
n <= T; anything else, as any argument outside of its range, is a ValueError.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from diffusion_jax.ranges import ascending, whole, within
from diffusion_jax.times import noise_levels
from diffusion_jax.types import Schedule

Grid = Float[np.ndarray, ' n_plus_1']


def uniform(n: int, t_max: float = 1.0) -> Grid:
    """Equal steps from t_max, in (0, inf), to 0; for T divisible by n and t_max = 1, the DDIM sub-sequence from T."""
    within('(0, inf)', t_max=t_max)
    return t_max * np.arange(_steps(n), -1, -1) / n


def trailing(n: int, T: int = 1000, among: int | None = None) -> Grid:
    """Equal steps of T / n rounded to the table, from k = T down (diffusers' `trailing`; arXiv 2305.08891, table 2).

    Rounded up to `among` equal parts of the table instead, where that is given: a latent consistency model knows 50 of
    its points (diffusers' LCMScheduler). It is in [1, inf) and divides T.

    Raises:
        ValueError: an argument outside of its range.
    """
    n, parts = _steps(n, T), T if among is None else among
    whole('[1, inf)', among=parts)
    if T % parts or n > parts:
        raise ValueError(f'among must divide T={T} and be at least n={n}; got {among}')
    left = np.arange(n, -1, -1)
    return (np.round(left * (parts / n)) if among is None else -(-left * parts // n)) / parts


def leading(n: int, T: int = 1000, offset: int = 0, last: int = 0) -> Grid:
    """The uniform sub-sequence from below, k = 1 + i floor(T / n), i < n (diffusers' `leading`), then 0.

    For n = 10 it starts at k = 901 of 1000. Where n divides T it is the one that DDIM's code has released; elsewhere
    that goes on to T and so takes more than n steps: 31 for n = 30, from k = 991, where this starts at 958.

    With an `offset` it is as much above that, and it ends at k = `last`; Stable Diffusion has 1 for both (diffusers'
    `steps_offset`, and `set_alpha_to_one=False`). Both are in [0, inf), the offset below floor(T / n)
    and `last` at most the offset.

    Raises:
        ValueError: an argument outside of its range.
    """
    whole('[0, inf)', offset=offset, last=last)
    k = 1 + np.arange(_steps(n, T)) * (T // n)
    if offset >= max(T // n, 1) or last > offset:
        raise ValueError(f'offset must be below {T // n}, and last at most offset; got {offset} and {last}')
    return np.append(offset + k[::-1], last) / T


def linspace(n: int, T: int = 1000) -> Grid:
    """`n` table points equally spaced from k = T to k = 1, rounded, then 0 (diffusers' `linspace`).

    Its DDIM steps from there to t - T / n instead of to the next point; its multistep solvers take n + 1 points and
    leave k = 1 out, which is the grid of n + 1 steps without its last but one.
    """
    return _to_zero(1 + np.round(np.linspace(T - 1, 0, _steps(n, T))[::-1]), T)


def quadratic(n: int, T: int = 1000, t_max: float = 0.8) -> Grid:
    """DDIM's quadratic sub-sequence, k = 1 + floor(i^2 t_max T / (n - 1)^2) (arXiv 2010.02502, appendix D.2).

    As released it ends at 0.8 T. There it also repeats small indices from about n = 50 on, each a wasted evaluation;
    here a repeated index moves up to the next free one. t_max is in (0, 1].
    """
    within('(0, 1]', t_max=t_max)
    i = np.arange(_steps(n, T))
    root = np.linspace(0, np.sqrt(t_max * T), n) if n > 1 else np.sqrt([t_max * T])
    k = 1 + np.floor(root**2 + 1e-9)
    # With t_max = 1 the formula's last index is T, one beyond the table.
    return _to_zero(np.minimum(np.maximum.accumulate(k - i) + i, T - n + 1 + i), T)


def karras(
    n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0, schedule: Schedule | None = None
) -> Grid:
    """EDM's grid: n noise levels equally spaced in sigma^(1/rho), then 0 (arXiv 2206.00364, eq. 5).

    The times are the levels themselves, as on VE, or those where the given schedule has sigma / alpha at these levels.
    sigma_min, sigma_max and rho are in (0, inf), and sigma_min below sigma_max.
    """
    within('(0, inf)', sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    ascending(sigma_min=sigma_min, sigma_max=sigma_max)
    i = np.arange(_steps(n)) / max(n - 1, 1)
    sigma = (sigma_max ** (1 / rho) + i * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return np.append(sigma if schedule is None else noise_levels.times_at(schedule, sigma), 0.0)


def multistep(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Grid:
    """`n` levels for multistep consistency sampling: Karras' grid of n + 1 levels, whose last, sigma_min, is left out.

    A consistency function is the identity at sigma_min: an evaluation there would be wasted. Ranges are as of `karras`:
    sigma_min, sigma_max and rho in (0, inf), and sigma_min below sigma_max.
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


def first_of(n: int, times: str | float | int | Sequence[float | int]) -> Grid:
    """The first n of the times of `at`, then 0: for times that were found one after another (`search.greedy_times`).

    So a run holds the times of one step, of two and so on, and whoever samples it need say n alone.

    Raises:
        ValueError: as `at`; for an n that is not in [1, inf), or more than there are times above 0.
    """
    found = at(times)
    if _steps(n) >= len(found):
        raise ValueError(f'a grid of {n} steps needs as many times; there are {len(found) - 1}: choose another grid')
    return np.append(found[:n], 0.0)


def log_snr(n: int, schedule: Schedule, t_min: float = 1e-3, t_max: float = 1.0) -> Grid:
    """`n` times from t_max to t_min equally spaced in log-SNR, then 0 (DPM-Solver, arXiv 2206.00927).

    t_min and t_max are in (0, inf), and t_min below t_max.

    Raises:
        ValueError: where the log-SNR is not finite, as at a t_max with alpha = 0; it names a t_max to use instead.
    """
    within('(0, inf)', t_min=t_min, t_max=t_max)
    ascending(t_min=t_min, t_max=t_max)
    most, least = (noise_levels.of(schedule, np.array(t)) for t in (t_max, t_min))
    if not most < noise_levels.WITHOUT_SIGNAL:
        instead = float(noise_levels.times_at(schedule, np.array(80.0)))
        raise ValueError(
            f'the log-SNR at t_max = {t_max} is not finite: use t_max = {instead:.6g}, where sigma / alpha = 80'
        )
    t = noise_levels.times_at(schedule, np.geomspace(most, least, _steps(n)))
    return np.concatenate([[t_max], t[1:], [0.0]])


def decreasing(grid: Grid) -> Grid:
    """The grid itself.

    Raises:
        ValueError: it is no vector of at least 2 times in [0, inf) that decrease.
    """
    within('[0, inf)', grid=grid)
    if np.ndim(grid) != 1 or len(grid) < 2 or not (np.diff(grid) < 0).all():
        raise ValueError(f'grid must be a vector of at least 2 times that decrease; got {grid}')
    return grid


def _steps(n, T=None):
    whole('(-inf, inf)', n=n, **({} if T is None else {'T': T}))
    if n < 1 or (T is not None and n > T):
        raise ValueError(f'a grid needs at least 1 step{"" if T is None else f" and at most T = {T}"}; got {n}')
    return n


def _to_zero(increasing_k, T):
    return np.append(increasing_k[::-1] / T, 0.0)
