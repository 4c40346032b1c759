"""Distillation without data (FreeFlow, arXiv 2511.19428): the Lagrangian equation along the model's own paths."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import per_sample, sum_square
from diffusion_jax.drift import velocity
from diffusion_jax.flow_maps import lagrangian
from diffusion_jax.objectives.trains import trains
from diffusion_jax.times import TimeDistribution
from diffusion_jax.types import AverageVelocityModel, Model, Objective, Schedule


@trains('average_velocity')
def data_free(
    average_velocity: AverageVelocityModel, teacher: Model, schedule: Schedule, p_t: TimeDistribution
) -> Objective:
    """The loss ||u - sg(v(X, s) + (t_max - s) du/ds)||^2 with X = X(z, t_max, s), a mean over the batch.

    z is drawn from the prior, where a model and its teacher agree by construction: of the batch only the shape and the
    conditions are used. The model learns the maps from t_max and no others; sample it in one step. Derived from the
    equation; the paper's second term, which corrects the marginals by a learned score, is not here.

    Args:
        average_velocity: the average velocity u.
        teacher: a diffusion model, without dropout; `frozen.teacher` holds its parameters. Needs sigma(s) > 0.
        schedule: the schedule of both; the paper's is rectified flow.
        p_t: distribution of s, the time that a path has come to, in (0, t_max).
    """

    def loss(params, frozen, key, batch, step):
        key_s, key_z, key_dropout = jax.random.split(key, 3)
        s = p_t(key_s, batch.x.shape[:1])
        t = jnp.full_like(s, schedule.t_max)
        z = per_sample(schedule.sigma(t), batch.x) * jax.random.normal(key_z, batch.x.shape)
        jump = lagrangian(average_velocity(params, batch.cond, key_dropout), z, t, s)
        v = velocity(teacher(frozen.teacher, batch.cond, None), schedule)(jump.x_s, s)
        goal = jax.lax.stop_gradient(v + per_sample(t - s, z) * jump.du_ds)
        value = jnp.mean(sum_square(jump.u - goal))
        return value, {'loss': value}

    return Objective(None, loss, reads_teacher=True)
