"""One loss for consistency distillation and training (CD, CT, iCT, ECT): E w(t, s) d(f(x_t, t), sg f(x_s, s))."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffusion_jax.drift import ddim_step
from diffusion_jax.objectives.batch_posterior import batch_denoiser
from diffusion_jax.objectives.distances import Distance
from diffusion_jax.objectives.pair_weights import PairWeight
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import Batch, Denoiser, FlowMap, Frozen, Model, Objective, Schedule

Solver = Callable[[Denoiser, Schedule], FlowMap]


class OdeStep(NamedTuple):
    """How x_t goes to x_s."""

    step: Callable[[Frozen, Batch], FlowMap]
    reads_teacher: bool = False


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
        ode_step: a step from x_t to x_s: a teacher's (CD; see `teacher_step`), or the batch's (see `batch_step`);
            without it x_s is the same data with the same noise (CT, iCT, ECT).
    """

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        if ode_step is None:
            x_s = q_sample(schedule, batch.x, s, eps)
        else:
            x_s = ode_step.step(frozen, batch)(x_t, t, s)
        target = frozen.target_or(params)
        # One dropout key on both sides: the distance is between two times, not between two networks.
        f_t = consistency_model(params, batch.cond, key_dropout)(x_t, t)
        f_s = jax.lax.stop_gradient(consistency_model(target, batch.cond, key_dropout)(x_s, s))
        value = jnp.mean(pair_weight(t, s) * distance(f_t, f_s))
        return value, {'loss': value}

    return Objective(None, loss, reads_teacher=ode_step is not None and ode_step.reads_teacher)


def teacher_step(teacher: Model, schedule: Schedule, solver: Solver) -> OdeStep:
    """A diffusion model's step along its ODE, without dropout; `solver` is `samplers.heun_step` or `euler_step`."""

    def step(frozen, batch):
        return solver(teacher(frozen.teacher, batch.cond, None), schedule)

    return OdeStep(step, reads_teacher=True)


def batch_step(schedule: Schedule) -> OdeStep:
    """Same data, same noise, but for what the batch makes of x_0 at x_t: consistency training with less variance.

    As the step is linear in x_0 it is right on average, as that of CT is; see `batch_denoiser`.
    """

    def step(frozen, batch):
        del frozen
        denoise = batch_denoiser(batch, schedule)
        return lambda x_t, t, s: ddim_step(schedule, x_t, denoise(x_t, t), t, s)

    return OdeStep(step)
