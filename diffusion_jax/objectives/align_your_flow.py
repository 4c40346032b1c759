"""Align Your Flow (arXiv 2506.14603): the Eulerian equation with a teacher's velocity, sCM's way of training."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import mean_square, per_sample, sum_square
from diffusion_jax.drift import velocity
from diffusion_jax.flow_maps import departure_velocity
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import AverageVelocityModel, Model, Objective, Schedule


@trains('average_velocity')
def align_your_flow(
    average_velocity: AverageVelocityModel,
    teacher: Model,
    schedule: Schedule,
    pairs: Pairs,
    warmup: int = 10_000,
    c: float = 0.1,
) -> Objective:
    """AYF-EMD: u follows -g / (||g|| + c) with g = u - v + r (t - s) du/dt and v the teacher's; a mean.

    At s = 0 this is continuous-time consistency distillation, at s = t flow matching by the teacher. The value is no
    measure of progress, for the tangent is normalised: `tangent_norm`, a metric, is its mean norm before that. The
    normalisation and the growing r are those of arXiv 2410.11081, algorithm 1.

    Args:
        average_velocity: the average velocity u.
        teacher: a diffusion model, without dropout; `frozen.teacher` holds its parameters. Needs sigma(t) > 0.
        schedule: the schedule of both; the paper's is rectified flow.
        pairs: p(t, s), t >= s.
        warmup: the number of steps in which r grows from 0 to 1.
        c: constant of the normalisation, ||.|| the norm over a whole sample.
    """

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        x_t = q_sample(schedule, batch.x, t, jax.random.normal(key_eps, batch.x.shape))
        v = velocity(teacher(frozen.teacher, batch.cond, None), schedule)(x_t, t)
        u, du_dt = departure_velocity(average_velocity(params, batch.cond, key_dropout), x_t, t, s, v)
        r = jnp.where(step < warmup, step / max(warmup, 1), 1.0)
        g = jax.lax.stop_gradient(u - v + r * per_sample(t - s, x_t) * du_dt)
        norm = jnp.sqrt(sum_square(g))
        value = jnp.mean(mean_square(u - jax.lax.stop_gradient(u) + g / per_sample(norm + c, g)))
        return value, {'loss': value, 'tangent_norm': jnp.mean(norm)}

    return Objective(None, loss, reads_teacher=True)
