"""Averages of any length after training, from snapshots of power-function averages.

The average of length sigma_rel at step T weighs what the parameters were at t by the profile
p(t) = (gamma + 1) t^gamma / T^(gamma + 1), 0 < t <= T. A sum of averages has the sum of their profiles, so snapshots
whose profiles add up to another one, nearly, add up to its average, as nearly.

Source: arXiv 2312.02696, equations 121 and 151 and algorithm 3, as its released code counts (NVlabs/edm2,
training/phema.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from diffusion_jax.optim.ema import gamma_of


class Profiles(NamedTuple):
    """Of several averages."""

    T: Float[np.ndarray, ' n']  # the step of each, above 0
    gamma: Float[np.ndarray, ' n']  # its exponent, above 0


class Fit(NamedTuple):
    """A profile as a sum of others."""

    weights: Float[np.ndarray, ' n']  # of these; their sum is 1
    residual: float  # norm of what is missing, as a share of the profile's own: 0 is exact


def profiles(steps: Sequence[int], lengths: Sequence[float]) -> Profiles:
    """The profiles of averages at these steps, above 0, of these sigma_rel, as many.

    Raises:
        ValueError: for a length out of the range of `ema.gamma_of`.
    """
    return Profiles(np.asarray(steps, float), np.array([gamma_of(s) for s in lengths]))


def inner(a: Profiles, b: Profiles) -> Float[np.ndarray, 'n m']:
    """The integrals of p_a(t) p_b(t) over t > 0, of every one of `n` profiles with every one of `m`.

    (gamma_a + 1) (gamma_b + 1) / (gamma_a + gamma_b + 1) min(T_a, T_b)^(gamma_a + gamma_b + 1)
    / (T_a^(gamma_a + 1) T_b^(gamma_b + 1)).
    """
    (T_a, gamma_a), (T_b, gamma_b) = (x[:, None] for x in a), (x[None] for x in b)
    total = gamma_a + gamma_b + 1
    # By logarithms: a power of a number of steps leaves float64.
    log = total * np.log(np.minimum(T_a, T_b)) - (gamma_a + 1) * np.log(T_a) - (gamma_b + 1) * np.log(T_b)
    return (gamma_a + 1) * (gamma_b + 1) / total * np.exp(log)


def fit(known: Profiles, step: int, sigma_rel: float) -> Fit:
    """The weights with which known averages add up to that of a length at a step, best in the mean square over t.

    Args:
        known: profiles that differ, `n` of them.
        step: T of the one wanted, above 0.
        sigma_rel: its length, in [1e-6, 0.288675).

    Raises:
        ValueError: for a length out of its range.
    """
    wanted = profiles([step], [sigma_rel])
    A, b, c = inner(known, known), inner(known, wanted)[:, 0], inner(wanted, wanted)[0, 0]
    norm = np.sqrt(np.diag(A))  # scaled, the equations are hundreds of times better conditioned
    weights = np.linalg.solve(A / np.outer(norm, norm), b / norm) / norm
    weights = weights / weights.sum()  # as released: no share of the parameters' own size is lost
    squared = c - 2 * weights @ b + weights @ A @ weights
    return Fit(weights, float(np.sqrt(max(squared, 0) / c)))
