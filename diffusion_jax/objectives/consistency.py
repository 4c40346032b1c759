"""One loss for consistency distillation and training (CD, CT, iCT, ECT): E w(t, s) d(f(x_t, t), sg f(x_s, s))."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion_jax.objectives.distances import Distance
from diffusion_jax.objectives.pair_weights import PairWeight
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import Cond, Denoiser, FlowMap, Model, Objective, Params, Schedule

OdeStep = Callable[[Params, Cond], FlowMap]  # (the teacher's parameters, cond) -> one step of its ODE
Solver = Callable[[Denoiser, Schedule], FlowMap]


@trains('consistency')
def consistency(
    consistency_model: Model,
    schedule: Schedule,
    pairs: Pairs,
    distance: Distance,
    pair_weight: PairWeight,
    ode_step: OdeStep | None = None,
) -> Objective:
    """The consistency loss, a mean over the batch (arXiv 2303.01469, algorithms 2 and 3).

    `frozen.target` holds the target network's parameters; None stands for the current ones, behind a stop-gradient.

    Args:
        consistency_model: the consistency function f, the identity at its least time.
        schedule: its schedule.
        pairs: p(t, s), which may depend on the training step.
        distance: d, per sample.
        pair_weight: w(t, s).
        ode_step: the teacher's step from x_t to x_s (CD; see `teacher_step`); without it x_s is the same data with the
            same noise (CT, iCT, ECT).
    """

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        if ode_step is None:
            x_s = q_sample(schedule, batch.x, s, eps)
        else:
            x_s = ode_step(frozen.teacher, batch.cond)(x_t, t, s)
        target = params if frozen.target is None else frozen.target
        # One dropout key on both sides: the distance is between two times, not between two networks.
        f_t = consistency_model(params, batch.cond, key_dropout)(x_t, t)
        f_s = jax.lax.stop_gradient(consistency_model(target, batch.cond, key_dropout)(x_s, s))
        value = jnp.mean(pair_weight(t, s) * distance(f_t, f_s))
        return value, {'loss': value}

    return Objective(None, loss, reads_teacher=ode_step is not None)


def teacher_step(teacher: Model, schedule: Schedule, solver: Solver) -> OdeStep:
    """A diffusion model's step along its ODE, without dropout; `solver` is `samplers.heun_step` or `euler_step`."""
    return lambda params, cond: solver(teacher(params, cond, None), schedule)
