"""Shortcut models (arXiv 2410.12557): a step of size t - s is two steps of half that size."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import mean_square, per_sample
from diffusion_jax.drift import path_velocity
from diffusion_jax.flow_maps import two_jumps
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import AverageVelocityModel, Objective, Schedule


@trains('average_velocity')
def shortcut(average_velocity: AverageVelocityModel, schedule: Schedule, pairs: Pairs, M: int = 128) -> Objective:
    """The loss of flow matching where s = t and of self-consistency elsewhere (arXiv 2410.12557, eq. 5), a mean.

    `frozen.target` holds the parameters of the target's two half steps (an EMA in the paper); None stands for the
    current ones, behind a stop-gradient.

    Args:
        average_velocity: the average velocity u, the paper's s(x_t, t, d) with d = t - s.
        schedule: its schedule; the paper's is rectified flow.
        pairs: p(t, s); see `times.dyadic_pairs`.
        M: as of the pairs. In place of the least step 1 / M, an Euler step, the model is asked for d = 0.
    """

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        target = frozen.target_or(params)
        halves = _two_halves(average_velocity(target, batch.cond, None), x_t, t, s, M)
        v = path_velocity(schedule, batch.x, eps, t)
        goal = jax.lax.stop_gradient(jnp.where(per_sample(s < t, v), halves, v))
        u = average_velocity(params, batch.cond, key_dropout)(x_t, t, s)
        value = jnp.mean(mean_square(u - goal))
        return value, {'loss': value}

    return Objective(None, loss)


def _two_halves(u, x_t, t, s, M):
    """(s(x_t, t, d) + s(x_{t-d}, t - d, d)) / 2 with d = (t - s) / 2."""

    def least_is_none(x, t, s):
        return u(x, t, jnp.where(t - s < 1.5 / M, t, s))

    return two_jumps(least_is_none, x_t, t, (t + s) / 2, s)
