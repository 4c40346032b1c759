"""Continuous-time consistency models: sCT and sCD (arXiv 2410.11081, algorithm 1)."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import mean_square, per_sample
from diffusion_jax.flow_maps import along_the_flow
from diffusion_jax.objectives.adaptive import AdaptiveWeight, learnt_beside
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.velocities import Velocity, of_a_teacher, of_the_path
from diffusion_jax.schedules import TrigFlow
from diffusion_jax.times import TimeDistribution
from diffusion_jax.types import Array, Denoiser, Model, Objective, Schedule


@trains('consistency')
def continuous(
    consistency_model: Model,
    schedule: Schedule,
    p_t: TimeDistribution,
    adaptive_weight: AdaptiveWeight | None = None,
    warmup: int = 10_000,
    c: float = 0.1,
    velocity: Velocity | None = None,
) -> Objective:
    """sCT: training from data alone, with dx_t/dt = cos(t) z - sin(t) x_0, the ODE's velocity in expectation.

    The value is no measure of progress, for the tangent is normalised; `tangent_norm`, a metric, is its mean norm
    before that, and not finite when a single tangent is not. `frozen.target` is not read: theta^- is theta itself.

    Args:
        consistency_model: the consistency function f, the identity at t = 0, in any parameterisation.
        schedule: TrigFlow, whose sigma_data is the standard deviation of the data.
        p_t: distribution of the angles, in (0, pi/2); see `times.arctan_log_normal`.
        adaptive_weight: w_phi of log tan t, learned with the model; see `adaptive.log_weight`. None for 0.
        warmup: H, the number of steps in which r, the share of dF/dt in the tangent, grows from 0 to 1.
        c: constant of the tangent's normalisation g / (||g|| + c), ||.|| the norm over a whole sample, not its root
            mean square.
        velocity: what dx_t/dt is; None for that of the sample. `velocities.of_the_batch` is the same with less noise.

    Raises:
        ValueError: for another schedule.
    """

    velocity = of_the_path() if velocity is None else velocity
    return _objective(consistency_model, schedule, p_t, adaptive_weight, warmup, c, velocity)


@trains('consistency')
def continuous_distillation(
    consistency_model: Model,
    teacher: Model,
    schedule: Schedule,
    p_t: TimeDistribution,
    adaptive_weight: AdaptiveWeight | None = None,
    warmup: int = 10_000,
    c: float = 0.1,
) -> Objective:
    """sCD: the same with dx_t/dt from the ODE of a diffusion model without dropout, `frozen.teacher` its parameters.

    The paper starts the consistency model from the teacher: then the tangent is 0 at step 0, where r = 0.
    """

    velocity = of_a_teacher(teacher, schedule)
    return _objective(consistency_model, schedule, p_t, adaptive_weight, warmup, c, velocity)


def _objective(consistency_model, schedule, p_t, adaptive_weight, warmup, c, velocity) -> Objective:
    if not isinstance(schedule, TrigFlow):
        raise ValueError(f'continuous-time consistency models are defined on TrigFlow, not on {schedule}')

    init, log_w = learnt_beside(adaptive_weight)

    def loss(params, frozen, key, batch, step):
        key_t, key_z, key_dropout = jax.random.split(key, 3)
        t = p_t(key_t, batch.x.shape[:1])
        z = schedule.sigma_data * jax.random.normal(key_z, batch.x.shape)
        x_t = per_sample(jnp.cos(t), z) * batch.x + per_sample(jnp.sin(t), z) * z
        r = jnp.where(step < warmup, step / max(warmup, 1), 1.0)
        f = consistency_model(params, batch.cond, key_dropout)
        path = per_sample(jnp.cos(t), z) * z - per_sample(jnp.sin(t), z) * batch.x
        sigma_F, g = tangent(f, x_t, t, velocity.field(frozen, batch, path, None)(x_t, t), r)
        F, g = sigma_F / schedule.sigma_data, jax.lax.stop_gradient(g)
        norm = jnp.sqrt(jnp.sum(g**2, axis=tuple(range(1, g.ndim))))
        g = g / per_sample(norm + c, g)
        # tan t < 0 where t is pi/2 rounded up
        w = log_w(params, jnp.log(jnp.abs(jnp.tan(t))))
        value = jnp.mean(jnp.exp(w) * mean_square(F - jax.lax.stop_gradient(F) - g) - w)
        return value, {'loss': value, 'tangent_norm': jnp.mean(norm)}

    return Objective(init, loss, reads_teacher=velocity.reads_teacher)


def tangent(f: Denoiser, x: Array, t: Array, dx_dt: Array, r: Array) -> tuple[Array, Array]:
    """The network's output sigma_d F(x, t), `[B, ...]`, and cos(t) df/dt along dx/dt, warmed up by r, `[B, ...]`.

    With f = cos(t) x - sin(t) sigma_d F the paper's g = -cos^2 (sigma_d F - dx/dt) - r cos sin (x + sigma_d dF/dt) is
    r cos df/dt - (1 - r) cos^2 (sigma_d F - dx/dt): one derivative of f itself, whatever F is, divided by nothing.
    The factor cos(t) is inside the derivative, because dF/dt alone may overflow near pi/2 (section 5.1).
    """
    cos, sin = per_sample(jnp.cos(t), x), per_sample(jnp.sin(t), x)
    f_t, cos_df_dt = along_the_flow(f, x, t, cos * dx_dt, jnp.cos(t))
    sigma_F = (cos * x - f_t) / sin
    return sigma_F, r * cos_df_dt - (1 - r) * cos**2 * (sigma_F - dx_dt)
