"""Factors of the learning rate, in [0, 1]: functions of the number of steps done."""

import jax.numpy as jnp
import numpy as np
import optax

from diffusion_jax.times.curricula import halving_stages

__all__ = ['constant', 'inverse_sqrt', 'linear', 'linear_stages']


def constant() -> optax.Schedule:
    """The learning rate itself."""
    return optax.constant_schedule(1.0)


def inverse_sqrt(after: int) -> optax.Schedule:
    """1 / sqrt(max(k / after, 1)), constant for the first `after` steps (EDM2, arXiv 2312.02696)."""
    if after < 1:
        raise ValueError(f'after must be at least 1; got {after}')
    return lambda step: 1 / jnp.sqrt(jnp.maximum(step / after, 1))


def linear(steps: int) -> optax.Schedule:
    """From 1 to 0 over the `steps` of the run."""
    return optax.linear_schedule(1.0, 0.0, steps)


def linear_stages(
    steps: int, each: int | None = None, n_0: int = 1024, n_1: int = 1, stretch: int = 2
) -> optax.Schedule:
    """From 1 towards 0 within every stage of `curricula.halving`, whose arguments it takes; 0 after the last.

    Source: the released code of arXiv 2202.00512.
    """
    _, ends = halving_stages(steps, each, n_0, n_1, stretch)
    lengths = np.diff(ends, prepend=0)
    return optax.join_schedules([optax.linear_schedule(1.0, 0.0, int(k)) for k in lengths], ends[:-1].tolist())
