"""Least squares in a few numbers by Levenberg-Marquardt, from normal equations alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Equations = Callable[
    [Float[np.ndarray, ' k']], tuple[float, Float[np.ndarray, ' k'], Float[np.ndarray, 'k k']]
]  # z -> r . r, J^T r, J^T J


class Fitted(NamedTuple):
    """Where a fit ended, and how damped its next step would have been, for a fit that goes on with more residuals."""

    z: Float[np.ndarray, ' k']
    damping: float


def levenberg_marquardt(
    equations: Equations,
    z: Float[np.ndarray, ' k'],
    max_steps: int,
    tolerance: float,
    damping: float = 1.0,
    progress: Callable[[int], None] = lambda done: None,
) -> Fitted:
    """A z `[k]` of less r . r, by steps h with (J^T J + lambda I) h = -J^T r (Levenberg 1944, Marquardt 1963).

    Residuals and Jacobian may be far too large to be kept: all that is asked for are their products, sums over parts.

    Args:
        equations: at z: the sum of squares r . r, J^T r `[k]` and J^T J `[k, k]`. Where they are not finite is no way.
        z: where to begin.
        max_steps: evaluations of the equations after the first one.
        tolerance: a step that lowers r . r by a smaller share is the last one.
        damping: lambda at first, in parts of the largest diagonal element of J^T J. From 1 on first steps are so small
            that the fit stays in its valley.
        progress: called with the number of steps that are done.
    """
    squares, g, A = equations(z)
    lam = damping * np.diag(A).max()
    for done in range(1, max_steps + 1 if np.isfinite(A).all() else 0):
        h = np.linalg.solve(A + lam * np.eye(len(z)), -g)
        at = equations(z + h)
        gain, expected = squares - at[0] if np.isfinite(at[2]).all() else -np.inf, -h @ (2 * g + A @ h)
        progress(done)
        lam *= 0.25 if gain > 0.75 * expected else 1 if gain > 0.25 * expected else 4
        if gain > 0:
            small = gain < tolerance * squares
            z, (squares, g, A) = z + h, at
            if small:
                break
    return Fitted(z, lam / np.diag(A).max())
