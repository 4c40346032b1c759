"""Alpha-Flow (arXiv 2510.20771): from flow matching by way of shortcuts to MeanFlow, as alpha falls from 1 to 0."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import per_sample, sum_square
from diffusion_jax.drift import path_velocity
from diffusion_jax.flow_maps import departure_velocity
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.times.curricula import Curriculum
from diffusion_jax.types import AverageVelocityModel, Objective, Schedule


@trains('average_velocity')
def alpha_flow(
    average_velocity: AverageVelocityModel,
    schedule: Schedule,
    pairs: Pairs,
    alpha: Curriculum,
    p: float = 1.0,
    c: float = 1e-3,
) -> Objective:
    """The loss w / alpha ||u(z_t, t, r) - sg(alpha v + (1 - alpha) u(z_m, m, r))||^2, a mean over the batch.

    m = t - alpha (t - r) and z_m = z_t - (t - m) v: the Eulerian equation over a finite step of each sample's velocity.
    At alpha = 1 that is flow matching for every r, and as alpha -> 0 the gradient is MeanFlow's, which takes its
    place, derivative and all, where alpha = 0.

    Args:
        average_velocity: the average velocity u; `frozen.target` holds the parameters behind the stop-gradient, None
            stands for the current ones (at alpha = 0 they are always those).
        schedule: its schedule; the paper's is rectified flow.
        pairs: p(t, r), t >= r; see `times.logit_normal_pairs`.
        alpha: of the training step, in [0, 1]; see `curricula.falling`.
        p: power of MeanFlow's adaptive weight, here by the error of the velocity, which is that of u over alpha (so
            derived, for every alpha to have the same weight in the limit; the paper's may differ).
        c: its offset.
    """

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, r = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        z = q_sample(schedule, batch.x, t, eps)
        v = path_velocity(schedule, batch.x, eps, t)
        u = average_velocity(params, batch.cond, key_dropout)
        target = average_velocity(frozen.target_or(params), batch.cond, key_dropout)
        a, gap = alpha(step), per_sample(t - r, z)

        def over_a_step(z):
            u_m = target(z - a * gap * v, t - a * (t - r), r)
            return (u(z, t, r) - (a * v + (1 - a) * jax.lax.stop_gradient(u_m))) / jnp.where(a > 0, a, 1)

        def by_the_derivative(z):
            u_t, du_dt = departure_velocity(u, z, t, r, v)
            return u_t - v + gap * jax.lax.stop_gradient(du_dt)

        error = jax.lax.cond(a > 0, over_a_step, by_the_derivative, z)  # of the velocity
        square = sum_square(error)
        value = jnp.mean(jnp.where(a > 0, a, 1) * square / jax.lax.stop_gradient(square + c) ** p)
        return value, {'loss': value, 'squared_error': jnp.mean(square), 'alpha': a}

    return Objective(None, loss)
