"""Terminal velocity matching (arXiv 2511.19797): the Lagrangian equation with the model's own velocity."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import sum_square
from diffusion_jax.drift import path_velocity
from diffusion_jax.flow_maps import arrival_velocity, lagrangian, velocity_of
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import AverageVelocityModel, Objective, Schedule


@trains('average_velocity')
def terminal_velocity(average_velocity: AverageVelocityModel, schedule: Schedule, pairs: Pairs) -> Objective:
    """The loss ||dX/ds - sg(u^-(X, s, s))||^2 + ||u(x_s, s, s) - v_s||^2 with X = X(x_t, t, s), a mean over the batch.

    x_t and x_s are noised alike from one sample, and v_s is the velocity of its path: every pair of times teaches a
    jump and the velocity where it arrives. The gradient goes through du/ds. The norm is a sum over the event axes.

    Args:
        average_velocity: the average velocity u; `frozen.target` holds the parameters of u^- (an EMA in the paper),
            None stands for the current ones.
        schedule: its schedule; the paper's is rectified flow.
        pairs: p(t, s), t >= s.
    """

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t, x_s = (q_sample(schedule, batch.x, time, eps) for time in (t, s))
        u = average_velocity(params, batch.cond, key_dropout)
        u_target = average_velocity(frozen.target_or(params), batch.cond, None)
        jump = lagrangian(u, x_t, t, s)
        goal = jax.lax.stop_gradient(velocity_of(u_target)(jump.x_s, s))
        arrives = sum_square(arrival_velocity(jump, t, s) - goal)
        flows = sum_square(velocity_of(u)(x_s, s) - path_velocity(schedule, batch.x, eps, s))
        value = jnp.mean(arrives + flows)
        return value, {'loss': value, 'terminal': jnp.mean(arrives), 'flow_matching': jnp.mean(flows)}

    return Objective(None, loss)
