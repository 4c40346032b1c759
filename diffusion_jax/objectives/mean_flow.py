"""MeanFlow (arXiv 2505.13447): the average velocity u(z_t, r, t), by its own total derivative in t."""

from typing import Any

import jax
import jax.numpy as jnp

from diffusion_jax import drift
from diffusion_jax.axes import equal_rows, per_sample, repeat_row, sum_square, where_rows
from diffusion_jax.flow_maps import departure_velocity
from diffusion_jax.objectives.flow_map import weighted_square
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.velocities import Velocity, of_a_teacher, of_the_path
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import AverageVelocityModel, Batch, Model, Objective, Schedule


@trains('average_velocity')
def mean_flow(
    average_velocity: AverageVelocityModel,
    schedule: Schedule,
    pairs: Pairs,
    p: float = 1.0,
    c: float = 1e-3,
    omega: float = 1.0,
    kappa: float = 0.0,
    guide_from: float = 0.0,
    guide_to: float = 1.0,
    drop: float = 0.1,
    null: Any = None,
    velocity: Velocity | None = None,
) -> Objective:
    """The MeanFlow loss, a mean over the batch of sg(w) ||u - sg(u_tgt)||^2 (arXiv 2505.13447, eq. 9 and 11).

    The norm is a sum over the event axes. With w = 1 / (||.||^2 + c)^p and p = 1 the loss itself is close to 1 however
    well the model fits: `squared_error` among the metrics is the norm without the weight.

    Args:
        average_velocity: the average velocity u.
        schedule: its schedule; the paper's is rectified flow.
        pairs: p(t, r), t >= r; see `times.logit_normal_pairs`.
        p: power of the adaptive weight (section 4.3). A weight by the sample's own error moves the minimum away
            from the mean velocity, in few dimensions much: 0, no weight, for points.
        c: its offset, at most about the norm that is to be reached; the released ImageNet code has 0.01.
        omega: guidance trained in, of scale omega / (1 - kappa) (section 4.2): the target's velocity is
            omega v + kappa u(z, t, t | cond) + (1 - omega - kappa) u(z, t, t | null).
        kappa: the share of the model's own velocity in it (appendix B.1), in [0, 1).
        guide_from: least t that is guided.
        guide_to: largest t that is guided.
        drop: probability with which a row's condition becomes `null`; such rows are not guided.
        null: one row that tells nothing, of a conditional model; None for an unconditional one.
        velocity: what v is, not the model's own; None for the data's, alpha' x + sigma' eps. See `velocities`.

    Raises:
        ValueError: guidance of an unconditional model, or a kappa outside of [0, 1).
    """
    if (omega != 1 or kappa != 0) and null is None:
        raise ValueError(f'omega={omega} and kappa={kappa} guide by a condition, and the model has none')
    if not 0 <= kappa < 1:
        raise ValueError(f'kappa must be in [0, 1); got {kappa}')
    told = of_the_path() if velocity is None else velocity
    guide = _guidance(average_velocity, omega, kappa, guide_from, guide_to, null)

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout, key_drop = jax.random.split(key, 4)
        t, r = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        z = q_sample(schedule, batch.x, t, eps)
        cond = batch.cond if null is None else _drop(key_drop, batch.cond, drop, null)
        path = drift.path_velocity(schedule, batch.x, eps, t)
        v = told.field(frozen, Batch(batch.x, cond), path, None)(z, t)
        v = guide(jax.lax.stop_gradient(params), v, z, t, cond)
        u, du_dt = departure_velocity(average_velocity(params, cond, key_dropout), z, t, r, v)
        u_tgt = jax.lax.stop_gradient(v - per_sample(t - r, z) * du_dt)
        value, metrics = weighted_square(u - u_tgt, p, c)
        return value, {**metrics, 'tangent_norm': jnp.mean(jnp.sqrt(sum_square(du_dt)))}

    drops = null is not None and drop > 0
    return Objective(None, loss, reads_teacher=told.reads_teacher, drops_cond=drops)


@trains('average_velocity')
def mean_flow_distillation(
    average_velocity: AverageVelocityModel,
    teacher: Model,
    schedule: Schedule,
    pairs: Pairs,
    p: float = 1.0,
    c: float = 1e-3,
) -> Objective:
    """The MeanFlow loss with a diffusion model's velocity, `frozen.teacher` its parameters, in place of the data's.

    The Eulerian residual of the teacher's own map: zero for every sample at the exact average velocity, so that any
    power p of the adaptive weight has the same minimum. Arguments are those of `mean_flow`; t must keep away from
    where the teacher on this schedule is not finite.
    """
    return mean_flow(average_velocity, schedule, pairs, p, c, velocity=of_a_teacher(teacher, schedule))


def _drop(key, cond, drop, null):
    n = len(jax.tree.leaves(cond)[0])
    return where_rows(jax.random.bernoulli(key, drop, (n,)), repeat_row(null, n), cond)


def _guidance(average_velocity, omega, kappa, guide_from, guide_to, null):
    """The target velocity omega v + kappa u(z, t, t | c) + (1 - omega - kappa) u(z, t, t) (arXiv 2505.13447, eq. 21).

    Without dropout, and only where something is told; kappa = 0 is eq. 19.
    """
    if omega == 1 and kappa == 0:
        return lambda params, v, z, t, cond: v

    def guide(params, v, z, t, cond):
        nothing = repeat_row(null, len(z))
        guided = omega * v + (1 - omega - kappa) * average_velocity(params, nothing, None)(z, t, t)
        if kappa:
            guided += kappa * average_velocity(params, cond, None)(z, t, t)
        inside = (t >= guide_from) & (t <= guide_to) & ~equal_rows(cond, nothing)
        return jnp.where(per_sample(inside, z), guided, v)

    return guide
