"""The grid on which a solver's few steps end closest to the exact solution.

The distance is minimised over all times at once through the solver's own steps, as in LD3 (arXiv 2405.15506), whose
students also move their noise, which ours do not. A grid has so few times that its derivatives are cheap forwards and
least squares converge in tens of iterations: Levenberg-Marquardt instead of LD3's stochastic gradient descent. With the
times that the model is told (`retime`) there are twice as many numbers to choose, and far less error is left.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.search.least_squares import descended
from diffusion_jax.times import Grid, noise_levels
from diffusion_jax.types import Schedule

_NODES = 1025  # of the table from noise levels to times
_HIGHEST = 1e4  # the level that the logarithms begin at where alpha = 0
_CLOSEST = 1e-3  # intervals of a start, as parts of the whole range: no logarithm of 0


class Found(NamedTuple):
    """The best grid and its mean error, beside those of the grids that the search started from."""

    times: Grid
    error: float
    errors_before: list[float]
    model_times: Float[np.ndarray, ' n'] | None = None  # of `fit_retimed_grid`


def per_sample_error(x: Float[Array, 'b ...'], target: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """Root mean square over the axes of a sample, `[B]`."""
    return jnp.sqrt(_mean_square(x, target))


def fit_grid(
    run: Callable[[Array], Array],
    target: Float[Array, 'b ...'],
    schedule: Schedule,
    starts: Sequence[Grid],
    least_level: float = 1e-3,
    max_steps: int = 40,
    tolerance: float = 1e-4,
    progress: Callable[[int], None] = lambda done: None,
) -> Found:
    """The grid with the least mean of `per_sample_error` that is found from any of the starts.

    The first time and 0, the last, are kept; the log noise levels between are shares of the range, a softmax.

    Args:
        run: end points `[B, ...]` on a grid `[n + 1]`, always from the same noises; differentiable in the grid, as
            `lambda times: samplers.sample(samplers.unipc(denoise, schedule), key, x, times)` is.
        target: the exact end points of these noises, such as those of many steps of Heun's method.
        schedule: of the model, for its noise levels.
        starts: grids `[n + 1]`, all with the same first time; better ones save iterations and worse minima.
        least_level: every time but the last is above this sigma / alpha.
        max_steps: iterations from the best start, and a third of them from each; one costs about 2 n runs.
        tolerance: relative, at which the iterations stop.
        progress: called with the number of iterations that are done, of `least_squares.iterations`.

    Raises:
        ValueError: no starts, of different lengths or first times, or an error that is not finite at all of them.
    """
    n, (to_times, _, to_z) = _prepared(schedule, starts, least_level, target.dtype)
    if n == 1:  # a single step has nothing to place
        max_steps = 0
    return _fit(run, target, [(g,) for g in starts], lambda z: (to_times(z),), to_z, max_steps, tolerance, progress)


def fit_retimed_grid(
    run: Callable[[Array, Array], Array],
    target: Float[Array, 'b ...'],
    schedule: Schedule,
    starts: Sequence[Grid],
    least_level: float = 1e-3,
    max_steps: int = 40,
    tolerance: float = 1e-4,
    progress: Callable[[int], None] = lambda done: None,
) -> Found:
    """The grid and the times `[n]` that the model is told on it, searched together from the starts' own times.

    Args:
        run: as for `fit_grid`, on (times `[n + 1]`, model times `[n]`): its denoiser is
            `retime.retimed(denoise, schedule, times[:-1], model_times)`.
        target: see `fit_grid`, as for all others.
        schedule: see there.
        starts: see there.
        least_level: see there; model times are above it too.
        max_steps: one costs about 4 n runs.
        tolerance: see there.
        progress: see there.

    Raises:
        ValueError: as `fit_grid`.
    """
    n, (to_times, to_model_times, to_z) = _prepared(schedule, starts, least_level, target.dtype)
    return _fit(
        run,
        target,
        [(grid, grid[:-1]) for grid in starts],
        lambda z: (to_times(z[: n - 1]), to_model_times(z[: n - 1], z[n - 1 :])),
        lambda grid, _: jnp.append(to_z(grid), jnp.zeros(n, target.dtype)),
        max_steps,
        tolerance,
        progress,
    )


def _prepared(schedule, starts, least_level, dtype):
    first = np.array([grid[0] for grid in starts])
    if len({len(grid) for grid in starts}) != 1 or not np.allclose(first, first[0], rtol=1e-9):
        raise ValueError('needs starts of one length and with the same first time')
    return len(starts[0]) - 1, _parametrise(schedule, first[0], least_level, dtype)


def _fit(run, target, starts, to_arguments, to_z, max_steps, tolerance, progress):
    """The best of the starts, tuples of arguments of `run`, and of what is found from each by way of z."""
    scale = np.sqrt(target.size)

    def residuals(z):
        # Their squares add up to the mean error itself, not to its square, which single far samples would rule.
        x = run(*to_arguments(z))
        square = _mean_square(x, target).reshape(-1, *(1,) * (x.ndim - 1))
        return (x - target) / (scale * (square + jnp.finfo(x.dtype).tiny ** 0.5) ** 0.25)

    def error(arguments):
        x = run(*(jnp.asarray(a, target.dtype) for a in arguments))
        return float(jnp.mean(per_sample_error(x, target)))

    def arguments_of(z):
        times, *more = (np.asarray(a, np.float64) for a in to_arguments(z))
        return np.append(starts[0][0][0], times[1:]), *more

    found = [(error(start), start) for start in starts]
    before = [value for value, _ in found]
    if max_steps:
        zs = [to_z(*start) for start in starts]
        reached = descended(residuals, lambda z: error(arguments_of(z)), zs, max_steps, tolerance, progress)
        found += [(error(a), a) for a in map(arguments_of, reached)]
    usable = [(value, a) for value, a in found if np.isfinite(value) and (np.diff(a[0]) < 0).all()]
    if not usable:
        raise ValueError('the error is not finite on any grid')
    value, (times, *model_times) = min(usable, key=lambda pair: pair[0])
    return Found(times, value, before, *model_times)


def _mean_square(x, target):
    return jnp.mean((x - target) ** 2, axis=tuple(range(1, x.ndim)))


def _parametrise(schedule, t_max, least_level, dtype):
    """From z `[n - 1]`, logarithms of intervals in log level beside the last one, to times `[n + 1]`, and back.

    Between them stands the way from z and shifts in log level `[n]` to the times of a model `[n]`.
    """
    highest = min(float(noise_levels.of(schedule, np.array(t_max))), _HIGHEST)
    nodes = np.geomspace(least_level, highest, _NODES)
    log_level, log_t = (jnp.asarray(np.log(v), dtype) for v in (nodes, noise_levels.times_at(schedule, nodes)))
    top, width = np.log(highest), np.log(highest / least_level)

    def to_log_levels(z):
        share = jnp.cumsum(jax.nn.softmax(jnp.append(z, 0.0)))[:-1]
        return top - jnp.append(jnp.zeros(1, dtype), share) * width

    def at(log_levels):
        return jnp.exp(jnp.interp(log_levels, log_level, log_t))

    def to_times(z):
        return jnp.concatenate([jnp.full(1, t_max, dtype), at(to_log_levels(z)[1:]), jnp.zeros(1, dtype)])

    def to_model_times(z, shifts):
        return at(to_log_levels(z) + shifts)

    def to_z(grid):
        share = (top - np.log(noise_levels.of(schedule, grid[1:-1]))) / width
        interval = np.log(np.maximum(np.diff(np.concatenate([[0.0], share, [1.0]])), _CLOSEST))
        return jnp.asarray(interval[:-1] - interval[-1], dtype)

    return to_times, to_model_times, to_z
