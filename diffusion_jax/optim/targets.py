"""Target and teacher of a run: what they start as, and how they change from step to step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffusion_jax.optim.ema import interpolate
from diffusion_jax.times.curricula import Curriculum
from diffusion_jax.types import Array, Frozen, Params

__all__ = ['fixed', 'moving_target', 'staged_teacher']


class Targets(NamedTuple):
    """A pair of pure functions: the frozen parameters at step 0, and after each step."""

    init: Callable[[Params, Params | None], Frozen]  # (params, the teacher's or None) -> Frozen
    update: Callable[[Frozen, Params, Array], Frozen]  # (frozen, params after the step, number of steps done) -> Frozen


def fixed() -> Targets:
    """A teacher, if any, that never changes; the target is the current parameters, behind a stop-gradient."""
    return Targets(lambda params, teacher: Frozen(None, teacher), lambda frozen, params, step: frozen)


def moving_target(decay: Callable[[Array], Array]) -> Targets:
    """A target that follows the parameters, theta^- <- mu theta^- + (1 - mu) theta (arXiv 2303.01469, eq. 8).

    Args:
        decay: mu at the step just done, counted from 0; see `curricula.target_decay`.
    """

    def update(frozen, params, step):
        mu = decay(step - 1)
        return frozen._replace(target=interpolate(frozen.target, params, mu))

    return Targets(lambda params, teacher: Frozen(jax.tree.map(jnp.copy, params), teacher), update)


def staged_teacher(N: Curriculum) -> Targets:
    """When N(k) changes the student becomes the teacher: progressive distillation (arXiv 2202.00512, algorithm 2)."""

    def update(frozen, params, step):
        ends = N(step) != N(step - 1)
        return frozen._replace(teacher=jax.tree.map(lambda a, b: jnp.where(ends, b, a), frozen.teacher, params))

    return Targets(lambda params, teacher: Frozen(None, teacher), update)
