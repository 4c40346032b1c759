"""Levenberg-Marquardt from several starts, with most of the iterations for the one that proves best."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Float

_SHARE = 3  # of the iterations, one in so many for every start; the best one gets the rest
_OPTIONS = {'jac': 'fwd'}


def iterations(starts: int, max_steps: int) -> int:
    """How many there are in all, if none of them converges before."""
    return starts * max_steps if starts == 1 else (starts - 1) * -(-max_steps // _SHARE) + max_steps


def descended(
    residuals: Callable[[Array], Array],
    error: Callable[[Array], float],
    starts: Sequence[Float[Array, ' n']],
    max_steps: int,
    tolerance: float,
    progress: Callable[[int], None],
) -> list[Float[Array, ' n']]:
    """What is reached from each start, the best one at `max_steps` iterations and the others at a third of them.

    Args:
        residuals: whose squares add up to what shall be small.
        error: by which a point is best.
        starts: at least one.
        max_steps: iterations, at most; each takes one Jacobian, forwards.
        tolerance: relative and absolute, of point and residuals, at which they stop.
        progress: called with the number of iterations done, at the end with `iterations`.
    """
    descend, done = _descents(residuals, tolerance), 0
    few = max_steps if len(starts) == 1 else -(-max_steps // _SHARE)
    descents, reached = [descend(z) for z in starts], list(starts)

    def follow(i, steps):
        nonlocal done
        for z in islice(descents[i], steps):
            reached[i], done = z, done + 1
            progress(done)

    for i in range(len(starts)):
        follow(i, few)
    errors = np.array([error(z) for z in reached])
    follow(int(np.argmin(np.where(np.isfinite(errors), errors, np.inf))), max_steps - few)
    progress(iterations(len(starts), max_steps))
    return reached


def _descents(residuals, tolerance) -> Callable[[Array], Iterator[Array]]:
    """From a start, the points after each iteration, as long as it has not converged; compiled once for all starts."""
    solver = optimistix.LevenbergMarquardt(tolerance, tolerance)

    def fn(z, args):
        return residuals(z), None

    @equinox.filter_jit
    def step(z, state):
        z, state, _ = solver.step(fn, z, None, _OPTIONS, state, frozenset())
        stops, result = solver.terminate(fn, z, None, _OPTIONS, state, frozenset())
        return z, state, stops | (result != optimistix.RESULTS.successful)

    def begin(z):
        shape = jax.eval_shape(residuals, z)
        return solver.init(fn, z, None, _OPTIONS, shape, None, frozenset())

    fresh = None

    def descend(z):
        nonlocal fresh
        # What a state holds of the start is where to look first; its Jacobian's program is compared by identity.
        fresh = equinox.filter_jit(begin)(z) if fresh is None else fresh
        state, stops = equinox.tree_at(lambda s: s.y_eval, fresh, jnp.asarray(z)), False
        while not stops:
            z, state, stops = step(z, state)
            yield z

    return descend
