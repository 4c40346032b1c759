"""Noise levels sigma / alpha, on which every Gaussian path is the same one, and the times of a schedule at them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from diffusion_jax.ranges import within
from diffusion_jax.types import Schedule

# Above this level alpha is what rounding makes of 0 in float64, as in cos(pi / 2) = 6e-17.
WITHOUT_SIGNAL = 1 / np.sqrt(np.finfo(np.float64).eps)
_BEYOND = 2.0**40  # no schedule that has an end has it later


def of(schedule: Schedule, t: Float[np.ndarray, '*t']) -> Float[np.ndarray, '*t']:
    """The level sigma / alpha at times t, in float64; infinite where alpha = 0."""
    alpha, sigma = _scales(schedule, t)
    return np.divide(sigma, alpha, out=np.full_like(sigma, np.inf), where=alpha > 0)


def times_at(schedule: Schedule, level: Float[np.ndarray, '*level']) -> Float[np.ndarray, '*level']:
    """The times at which a schedule reaches these levels: the inverse of `of`, by bisection, to the last digit.

    Args:
        schedule: any whose level does not decrease. Nothing is divided, so alpha may be 0.
        level: in [0, inf]; infinity is where alpha = 0.

    Raises:
        ValueError: for a level outside of that, or above the schedule's highest.
    """
    within('[0, inf]', level=level)
    level = np.asarray(level, np.float64)

    def reached(t):
        alpha, sigma = _scales(schedule, t)
        return np.where(np.isinf(level), alpha <= 0, sigma >= np.where(np.isinf(level), 0, level) * alpha)

    lo, hi = np.zeros_like(level), np.ones_like(level)
    while not reached(hi).all():  # VE's times have no end
        hi = np.where(reached(hi), hi, 2 * hi)
        if hi.max() > _BEYOND:
            highest = of(schedule, np.array(_BEYOND))
            if not level.max() <= highest * (1 + 1e-9):
                raise ValueError(f'{type(schedule).__name__} has no noise level as high as {level.max():.6g}')
            return times_at(schedule, np.minimum(level, highest))  # its last, but for rounding
    mid = hi / 2
    while ((lo < mid) & (mid < hi)).any():
        lo, hi = np.where(reached(mid), lo, mid), np.where(reached(mid), mid, hi)
        mid = (lo + hi) / 2
    return hi


def _scales(schedule, t):
    # Grids are constants, wherever they are made: inside a function under transformation too.
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return [np.asarray(v) for v in _jitted(schedule, jnp.asarray(t, jnp.float64))]


@jax.jit
def _jitted(schedule, t):
    return schedule.alpha(t), schedule.sigma(t)
