"""SDEdit: noise an image, or a sketch of one, and denoise it again (arXiv 2108.01073)."""

import numpy as np
from jaxtyping import Array, Float

from diffusion_jax import samplers
from diffusion_jax.axes import as_times
from diffusion_jax.process import gaussian
from diffusion_jax.types import Key, Sampler, Schedule


def part_below(grid: Float[np.ndarray, ' n_plus_1'], t0: float) -> Float[np.ndarray, ' m_plus_1']:
    """The grid from t0 on: t0, then all of its times below t0.

    Raises:
        ValueError: for a t0 that is not above 0, or above the first time.
    """
    if not 0 < t0 <= grid[0]:
        raise ValueError(f'needs 0 < t0 <= {grid[0]:g}, the first time of the grid; got {t0:g}')
    return np.append(t0, grid[grid < t0])


def sdedit(sampler: Sampler, schedule: Schedule, key: Key, x: Float[Array, 'b ...'], times) -> Float[Array, 'b ...']:
    """Draws x_t ~ q(x_t | x) at t = times[0] and runs the sampler from there (arXiv 2108.01073).

    The earlier times[0], the closer to x; the later, the likelier under the model. With alpha = 0 at times[0] nothing
    of x is left.

    Args:
        sampler: of a denoiser, a consistency function or a flow map.
        schedule: its schedule.
        key: one key `[]`, or one per sample `[B]`.
        x: images in the range of the data.
        times: `part_below(grid, t0)`.
    """
    t = as_times(times[0], x)
    x_t = gaussian(schedule, times[0]).corrupt(samplers.fold_in(key, 0), x, t)
    return samplers.sample(sampler, samplers.fold_in(key, 1), x_t, times)
