"""How data become noise: a Gaussian path, or masking, the same two functions each (`types.Process`).

Masking is of levels 0 .. levels - 1; the number `levels` itself is the mask. Whoever trains or shows has values in
[-1, 1], whatever the process: `to_tokens` and `to_values` are the doors.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffusion_jax.axes import per_sample
from diffusion_jax.ranges import whole
from diffusion_jax.schedules import q_sample
from diffusion_jax.types import Key, Process, Schedule


def gaussian(schedule: Schedule, t_max: float) -> Process:
    """x_t = alpha(t) x_0 + sigma(t) eps, from sigma(t_max) eps."""

    def prior(key, shape):
        return schedule.sigma(jnp.float32(t_max)) * per_key(jax.random.normal, key, shape)

    def corrupt(key, x_0, t):
        eps = per_key(lambda k, shape: jax.random.normal(k, shape, x_0.dtype), key, x_0.shape)
        return q_sample(schedule, x_0, t, eps)

    return Process(prior, corrupt)


def masking(schedule: Schedule, levels: int) -> Process:
    """Every token of x_0 is there with probability alpha(t), else the mask (MD4, arXiv 2406.04329); all are at first.

    Args:
        schedule: with alpha + sigma = 1, such as `schedules.PolynomialMasking`.
        levels: of the data, in [2, inf).

    Raises:
        ValueError: another schedule or number of levels.
    """
    check_masking(schedule, levels)

    def prior(key, shape):
        del key
        return jnp.full(shape, levels, jnp.int32)

    def corrupt(key, x_0, t):
        u = per_key(jax.random.uniform, key, x_0.shape)
        return jnp.where(u < per_sample(schedule.sigma(t), x_0), levels, x_0)

    return Process(prior, corrupt)


def masking_posterior(
    schedule: Schedule, t: Float[Array, '*t'], s: Float[Array, '*t'], eta: float = 0.0
) -> tuple[Float[Array, '*t'], Float[Array, '*t']]:
    """How x_t becomes x_s, s <= t, given x_0: the probability that a mask stays one, and that a token is masked again.

    Of f = eta min(alpha_t, sigma_s), eta in [0, 1], a mask stays one with (sigma_s - f) / sigma_t, else it is x_0, and
    a token is masked with f / alpha_t. A share alpha_t - f + sigma_t - (sigma_s - f) = alpha_s is there at s, so that
    the marginals are the process's own for every eta (derived here; it is ReMDM's rescaled form, arXiv 2503.00307).
    eta = 0 is the posterior of masking itself, eta = 1 masks as much again as that allows. What nothing is left of has
    the probability 0: masks where sigma_t = 0, tokens where alpha_t = 0.
    """
    forget = eta * jnp.minimum(schedule.alpha(t), schedule.sigma(s))
    return _share(schedule.sigma(s) - forget, schedule.sigma(t)), _share(forget, schedule.alpha(t))


def _share(a, b):
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


def check_masking(schedule: Schedule, levels: int) -> None:
    """Refuses what cannot mask.

    Raises:
        ValueError: fewer than 2 levels, or a schedule without alpha + sigma = 1.
    """
    whole('[2, inf)', levels=levels)
    with jax.ensure_compile_time_eval():  # factories of samplers are called under `jit`
        t = jnp.linspace(0, schedule.t_max, 9)
        is_masking = bool(jnp.allclose(schedule.alpha(t) + schedule.sigma(t), 1, atol=1e-5))
    if not is_masking:
        raise ValueError(
            f'masking needs a schedule with alpha + sigma = 1, such as PolynomialMasking; got {type(schedule).__name__}'
        )


def to_tokens(x: Float[Array, 'b ...'], levels: int) -> Int[Array, 'b ...']:
    """The nearest level of each value in [-1, 1]."""
    half = (levels - 1) / 2
    return jnp.clip(jnp.round(half * x + half), 0, levels - 1).astype(jnp.int32)


def to_values(tokens: Int[Array, 'b ...'], levels: int) -> Float[Array, 'b ...']:
    """The values of levels in [-1, 1], NaN for what is still masked: no sample, and told as one that diverged is."""
    values = tokens.astype(jnp.float32) / jnp.float32((levels - 1) / 2) - 1
    return jnp.where(tokens == levels, jnp.nan, values)


def per_key(draw: Callable[[Key, tuple[int, ...]], Array], key: Key, shape: tuple[int, ...]) -> Array:
    """`draw(key, shape)` of one key, or each row `shape[1:]` from its own of keys `[B]`."""
    return jax.vmap(lambda k: draw(k, shape[1:]))(key) if key.ndim else draw(key, shape)
