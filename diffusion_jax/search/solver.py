"""The grid on which a solver's few steps end closest to the exact solution.

The distance is minimised over all times at once through the solver's own steps, as in LD3 (arXiv 2405.15506), whose
students also move their noise, which ours do not. A grid has so few times that its derivatives are cheap forwards and
least squares converge in tens of iterations: Levenberg-Marquardt instead of LD3's stochastic gradient descent. With the
times that the model is told (`retime`) there are twice as many numbers to choose, and far less error is left.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.search.least_squares import Fitted, levenberg_marquardt
from diffusion_jax.times import Grid, noise_levels
from diffusion_jax.types import Schedule

_NODES = 1025  # of the table from noise levels to times
_HIGHEST = 1e4  # the level that the logarithms begin at where alpha = 0
_CLOSEST = 1e-3  # intervals of a start, as parts of the whole range: no logarithm of 0


Rows = Any  # a pytree of arrays, one row for each end point


class Found(NamedTuple):
    """The best grid and its mean error, beside those of the grids that the search started from."""

    times: Grid
    error: float
    errors_before: list[float]
    model_times: Float[np.ndarray, ' n'] | None = None  # of `fit_retimed_grid`


class _Search(NamedTuple):
    few: int
    max_steps: int
    tolerance: float
    progress: Callable[[int], None]


def per_sample_error(x: Float[Array, 'b ...'], target: Float[Array, 'b ...']) -> Float[Array, ' b']:
    """Root mean square over the axes of a sample, `[B]`."""
    return jnp.sqrt(_mean_square(x, target))


def fit_grid(
    run: Callable[[Rows, Array], Array],
    rows: Rows,
    target: Float[Array, 'b ...'],
    schedule: Schedule,
    starts: Sequence[Grid],
    few: int = 16,
    least_level: float = 1e-3,
    max_steps: int = 40,
    tolerance: float = 1e-3,
    progress: Callable[[int], None] = lambda done: None,
) -> Found:
    """The grid with the least mean of `per_sample_error` that is found from any of the starts.

    The first time and 0, the last, are kept; the log noise levels between are shares of the range, a softmax. From each
    of the starts the first `few` rows are fitted, and from the best of what is found all rows: a row has as many
    residuals as numbers, so that a few of them tell the way.

    Args:
        run: (rows, grid `[n + 1]`) -> their end points `[B, ...]`; differentiable in the grid, as
            `lambda x, times: samplers.sample(samplers.unipc(denoise, schedule), key, x, times)` is.
        rows: a pytree of arrays `[B, ...]`, what the end points start from: noises, or their keys and conditions.
        target: the exact end points of these noises, such as those of many steps of Heun's method.
        schedule: of the model, for its noise levels.
        starts: grids `[n + 1]`, all with the same first time; better ones save iterations and worse minima.
        few: rows that are run at once, and that the starts are fitted to, at least 1.
        least_level: every time but the last is above this sigma / alpha.
        max_steps: iterations from each start and of all rows; one costs about 1.5 (n - 1) runs.
        tolerance: a step that lowers the error by a smaller share is the last one.
        progress: called with the number of iterations that are done, of `iterations` in all.

    Raises:
        ValueError: no starts, of different lengths or first times, or an error that is not finite at all of them.
    """
    n, (to_times, _, to_z) = _prepared(schedule, starts, least_level, target.dtype)
    search = _Search(few, max_steps if n > 1 else 0, tolerance, progress)  # a single step has nothing to place
    return _fit(run, rows, target, [(g,) for g in starts], lambda z: (to_times(z),), to_z, search)


def fit_retimed_grid(
    run: Callable[[Rows, Array, Array], Array],
    rows: Rows,
    target: Float[Array, 'b ...'],
    schedule: Schedule,
    starts: Sequence[Grid],
    few: int = 16,
    least_level: float = 1e-3,
    max_steps: int = 40,
    tolerance: float = 1e-3,
    progress: Callable[[int], None] = lambda done: None,
) -> Found:
    """The grid and the times `[n]` that the model is told on it, searched together from the starts' own times.

    Args:
        run: as for `fit_grid`, on (rows, times `[n + 1]`, model times `[n]`): its denoiser is
            `retime.retimed(denoise, schedule, times[:-1], model_times)`.
        rows: see `fit_grid`, as for all others.
        target: see there.
        schedule: see there.
        starts: see there.
        few: see there.
        least_level: see there; model times are above it too.
        max_steps: one costs about 1.5 (2 n - 1) runs.
        tolerance: see there.
        progress: see there.

    Raises:
        ValueError: as `fit_grid`.
    """
    n, (to_times, to_model_times, to_z) = _prepared(schedule, starts, least_level, target.dtype)
    return _fit(
        run,
        rows,
        target,
        [(grid, grid[:-1]) for grid in starts],
        lambda z: (to_times(z[: n - 1]), to_model_times(z[: n - 1], z[n - 1 :])),
        lambda grid, _: jnp.append(to_z(grid), jnp.zeros(n, target.dtype)),
        _Search(few, max_steps, tolerance, progress),
    )


def iterations(starts: int, max_steps: int) -> int:
    """The most iterations of a search: `max_steps` from each start, and as many on all rows."""
    return (starts + 1) * max_steps


def _prepared(schedule, starts, least_level, dtype):
    first = np.array([grid[0] for grid in starts])
    if len({len(grid) for grid in starts}) != 1 or not np.allclose(first, first[0], rtol=1e-9):
        raise ValueError('needs starts of one length and with the same first time')
    return len(starts[0]) - 1, _parametrise(schedule, first[0], least_level, dtype)


def _fit(run, rows, target, starts, to_arguments, to_z, search):
    """The best of the starts, tuples of arguments of `run`, and of what is found from each by way of z."""
    few, max_steps, tolerance, progress = search
    parts = [jax.tree.map(lambda a, i=i: a[i : i + few], (rows, target)) for i in range(0, len(target), few)]
    normal, errors = _equations(run, to_arguments)

    def error(arguments):
        at = [jnp.asarray(a, target.dtype) for a in arguments]
        return float(np.concatenate([errors(at, part) for part in parts]).mean())

    def improved(z, some, before, damping=1.0):
        def equations(z):
            terms = zip(*(normal(jnp.asarray(z, target.dtype), part) for part in some), strict=True)
            return [np.sum([np.asarray(t, np.float64) for t in term], axis=0) for term in terms]

        z, told = np.asarray(z, np.float64), lambda done: progress(before + done)
        fitted = levenberg_marquardt(equations, z, max_steps, tolerance, damping, told)
        times, *more = (np.asarray(a, np.float64) for a in to_arguments(jnp.asarray(fitted.z, target.dtype)))
        arguments = (np.append(starts[0][0][0], times[1:]), *more)
        return error(arguments), arguments, fitted

    found = [(error(start), start, Fitted(to_z(*start), 1.0)) for start in starts]
    errors_before = [value for value, *_ in found]
    for i, (value, _, at) in enumerate(found[:] if max_steps else []):
        if np.isfinite(value):
            found.append(improved(at.z, parts[:1], i * max_steps))
        progress((i + 1) * max_steps)
    if len(parts) > 1 and max_steps:
        best = _best(found)[2]
        found.append(improved(best.z, parts, len(starts) * max_steps, best.damping))
    progress(iterations(len(starts), max_steps))
    value, (times, *model_times), _ = _best(found)
    return Found(times, value, errors_before, *model_times)


def _equations(run, to_arguments):
    """(z, part) -> r . r, J^T r, J^T J, which is all of the derivatives that is kept; (arguments, part) -> errors."""

    def residuals(z, rows, target):
        # Their squares add up to the errors themselves, not to their squares, which single far samples would rule.
        x = run(rows, *to_arguments(z))
        square = _mean_square(x, target).reshape(-1, *(1,) * (x.ndim - 1))
        root = math.prod(x.shape[1:]) ** 0.5
        return ((x - target) / (root * (square + jnp.finfo(x.dtype).tiny ** 0.5) ** 0.25)).ravel()

    @jax.jit  # one compilation for all starts and parts
    def normal(z, part):
        r, J = residuals(z, *part), jax.jacfwd(residuals)(z, *part)
        return r @ r, J.T @ r, J.T @ J

    return normal, lambda arguments, part: per_sample_error(run(part[0], *arguments), part[1])


def _best(found):
    usable = [f for f in found if np.isfinite(f[0]) and (np.diff(f[1][0]) < 0).all()]
    if not usable:
        raise ValueError('the error is not finite on any grid')
    return min(usable, key=lambda f: f[0])


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
