"""The search for the times of multistep consistency sampling (arXiv 2303.01469, section 3)."""

import math
from collections.abc import Callable

import numpy as np

from diffusion_jax.times import Grid


def ternary_search(loss: Callable[[float], float], lo: float, hi: float, evaluations: int) -> float:
    """The best point that was tried for a minimum of a unimodal function; two evaluations cut a third of the interval.

    It lies within (hi - lo) (2 / 3)^(evaluations // 2) of the minimum.

    Args:
        loss: the function, evaluated inside of (lo, hi) only.
        lo: where the interval begins.
        hi: where it ends.
        evaluations: how often the function may be evaluated, at least 2.

    Raises:
        ValueError: for an empty interval, too few evaluations or a loss that is not finite.
    """
    if not lo < hi or evaluations < 2:
        raise ValueError(f'needs lo < hi and at least 2 evaluations; got {lo}, {hi} and {evaluations}')
    best, least = lo, math.inf
    for _ in range(evaluations // 2):
        thirds = lo + (hi - lo) / 3, hi - (hi - lo) / 3
        values = [float(loss(x)) for x in thirds]
        if not np.isfinite(values).all():
            raise ValueError(f'the loss must be finite; at {thirds} it is {values}')
        lo, hi = (lo, thirds[1]) if values[0] < values[1] else (thirds[0], hi)
        value, x = min(zip(values, thirds, strict=True))
        if value < least:
            best, least = x, value
    return best


def greedy_times(
    loss: Callable[[Grid], float],
    n: int,
    evaluations: int,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
) -> Grid:
    """A grid of n steps from sigma_max to 0, found one time after another, each by `ternary_search`.

    That assumes, as the paper does, that given the times before it the loss is a unimodal function of the next one.

    Args:
        loss: of a grid `[m + 1]` of any m <= n steps, such as the FID of `samplers.renoise` on it, always with
            the same noise.
        n: number of steps, at least 1.
        evaluations: how many grids to try for each time after the first.
        sigma_min: every time but the last, 0, is above it.
        sigma_max: the first time.
        rho: the search is over t^(1/rho), where the grid of the released code is equally spaced.
    """
    if n < 1:
        raise ValueError(f'a grid needs at least 1 step; got {n}')
    times = [sigma_max]
    while len(times) < n:

        def of_next(root, before=tuple(times)):
            return loss(np.array([*before, root**rho, 0.0]))

        times.append(ternary_search(of_next, sigma_min ** (1 / rho), times[-1] ** (1 / rho), evaluations) ** rho)
    return np.array([*times, 0.0])
