"""Curricula of consistency training: the number of grid points N(k) at training step k, and the target's EMA mu(k)."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Int

__all__ = ['constant', 'constant_decay', 'doubling', 'square_root', 'target_decay']

Curriculum = Callable[[Array], Array]  # training step [] -> number of grid points [], at least 2


def constant(n: int = 18) -> Curriculum:
    """The same N at every step, as CD has it."""
    if n < 2:
        raise ValueError(f'a pair of times needs at least 2 grid points; got {n}')
    return lambda step: jnp.full_like(step, n)


def square_root(steps: int, s_0: int = 2, s_1: int = 150) -> Curriculum:
    """CT's N(k) = ceil(sqrt(k / K ((s_1 + 1)^2 - s_0^2) + s_0^2) - 1) + 1 (arXiv 2303.01469, appendix C).

    Args:
        steps: K, the number of training steps.
        s_0: number of points at k = 0.
        s_1: number of intervals at k = K.
    """

    def N(step: Int[Array, '']) -> Int[Array, '']:
        k = jnp.clip(step, 0, steps)
        square = k / steps * ((s_1 + 1) ** 2 - s_0**2) + s_0**2
        return jnp.ceil(jnp.sqrt(square) - 1).astype(step.dtype) + 1

    return N


def doubling(steps: int, s_0: int = 10, s_1: int = 1280) -> Curriculum:
    """ICT's N(k) = min(s_0 2^floor(k / K'), s_1) + 1, K' = floor(K / (log2 floor(s_1 / s_0) + 1)).

    Source: arXiv 2310.14189, section 3.4; `steps` is K.
    """
    each = int(steps / (math.log2(s_1 // s_0) + 1))
    if each < 1:
        raise ValueError(f'{steps} steps are too few to double {s_0} up to {s_1}')

    def N(step: Int[Array, '']) -> Int[Array, '']:
        # Beyond 30 doublings the integer would overflow, and s_1 has been reached.
        return jnp.minimum(s_0 * 2 ** jnp.minimum(step // each, (s_1 // s_0).bit_length()), s_1) + 1

    return N


def constant_decay(mu: float = 0.0) -> Callable[[Array], Array]:
    """The same decay of the target network at every step, as CD has it."""
    return lambda step: jnp.asarray(mu)


def target_decay(N: Curriculum, s_0: int = 2, mu_0: float = 0.9, count: str = 'points') -> Callable[[Array], Array]:
    """CT's decay of the target network, mu(k) = exp(s_0 ln mu_0 / N(k)) (arXiv 2303.01469, appendix C).

    Args:
        N: the curriculum.
        s_0: its number of points at k = 0.
        mu_0: the decay at k = 0.
        count: what the denominator counts: the 'points' N(k) of the paper, or the 'intervals' N(k) - 1 of both
            released codes.
    """
    if count not in _COUNTED:
        raise ValueError(f'count must be one of {sorted(_COUNTED)}; got {count!r}')
    return lambda step: jnp.exp(s_0 * jnp.log(mu_0) / (N(step) - _COUNTED[count]))


_COUNTED = {'points': 0, 'intervals': 1}
