"""Improved MeanFlow (arXiv 2512.02012): the Eulerian equation along the model's own velocity, against the data's."""

import jax

from diffusion_jax.axes import per_sample
from diffusion_jax.drift import path_velocity
from diffusion_jax.flow_maps import departure_velocity, velocity_of
from diffusion_jax.objectives.flow_map import weighted_square
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import AverageVelocityModel, Objective, Schedule


@trains('average_velocity')
def improved_mean_flow(
    average_velocity: AverageVelocityModel, schedule: Schedule, pairs: Pairs, p: float = 1.0, c: float = 1e-3
) -> Objective:
    """The loss sg(w) ||V - v||^2 with V = u + (t - r) sg(du/dt), a mean over the batch.

    MeanFlow takes the derivative along each sample's own velocity, so that its V, which is to be a function of z_t
    alone, knows the sample: here it goes along u(z_t, t, t), and only the target is the sample's v. The fixed point is
    the same, the variance is not. Arguments are those of `mean_flow`.
    """

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, r = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        z = q_sample(schedule, batch.x, t, eps)
        u = average_velocity(params, batch.cond, key_dropout)
        u_now, du_dt = departure_velocity(u, z, t, r, jax.lax.stop_gradient(velocity_of(u)(z, t)))
        V = u_now + per_sample(t - r, z) * jax.lax.stop_gradient(du_dt)
        return weighted_square(V - path_velocity(schedule, batch.x, eps, t), p, c)

    return Objective(None, loss)
