"""One loss for every equation of flow maps and every velocity: E w ||u.. - sg(..)||^2."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import per_sample, sum_square
from diffusion_jax.drift import path_velocity
from diffusion_jax.objectives.equations import Equation
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.velocities import Velocity
from diffusion_jax.ranges import within
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import Array, AverageVelocityModel, Objective, Schedule


@trains('average_velocity')
def flow_map(
    average_velocity: AverageVelocityModel,
    schedule: Schedule,
    pairs: Pairs,
    equation: Equation,
    velocity: Velocity,
    p: float = 0.0,
    c: float = 1e-3,
) -> Objective:
    """The square of an equation's residual where s < t, and of u(x_t, t, t) - v where s = t; a mean over the batch.

    Which published method is which cell: docs/flow_maps.md. `frozen.target` holds the parameters of the model that a
    target asks (its own velocity, its second jump); None stands for the current ones.

    Args:
        average_velocity: the average velocity u.
        schedule: its schedule.
        pairs: p(t, s), t >= s; see `times.logit_normal_pairs`. Without a teacher some must have s = t.
        equation: see `equations`.
        velocity: see `velocities`.
        p: power of the adaptive weight 1 / (||.||^2 + c)^p (arXiv 2505.13447, section 4.3), in [0, inf); 0 for none.
        c: its offset, in (0, inf).
    """
    within('[0, inf)', p=p)
    within('(0, inf)', c=c)

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        path = path_velocity(schedule, batch.x, eps, t)
        target = frozen.target_or(params)
        u_target = average_velocity(jax.lax.stop_gradient(target), batch.cond, None)
        v = velocity.field(frozen, batch, path, u_target)
        sides = equation(average_velocity(params, batch.cond, key_dropout), u_target, v, x_t, t, s)
        diagonal = path if velocity.learnt_from_the_path else v(x_t, t)
        goal = jax.lax.stop_gradient(jnp.where(per_sample(s < t, x_t), sides.target, diagonal))
        return weighted_square(sides.learns - goal, p, c)

    return Objective(None, loss, reads_teacher=velocity.reads_teacher)


def weighted_square(error: Array, p: float, c: float) -> tuple[Array, dict[str, Array]]:
    """MeanFlow's sg(w) ||error||^2, w = 1 / (||error||^2 + c)^p, a mean over the batch; without w as a metric."""
    square = sum_square(error)
    value = jnp.mean(square / jax.lax.stop_gradient(square + c) ** p)
    return value, {'loss': value, 'squared_error': jnp.mean(square)}
