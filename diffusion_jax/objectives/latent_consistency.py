"""Latent consistency distillation: a consistency function of a guided teacher, told the weight of the guidance."""

from typing import Any

import jax
import jax.numpy as jnp

from diffusion_jax import guidance
from diffusion_jax.axes import repeat_row
from diffusion_jax.drift import ddim_step
from diffusion_jax.objectives.consistency import OdeStep, consistency
from diffusion_jax.objectives.distances import Distance
from diffusion_jax.objectives.pair_weights import PairWeight
from diffusion_jax.objectives.trains import trains
from diffusion_jax.ranges import within
from diffusion_jax.times import Pairs
from diffusion_jax.types import Array, Cond, Masked, Model, Objective, Part, Schedule


@trains('consistency')
def latent_consistency(
    consistency_model: Model,
    teacher: Model,
    schedule: Schedule,
    null: Cond,
    pairs: Pairs,
    distance: Distance,
    pair_weight: PairWeight,
    w_min: float = 6.0,
    w_max: float = 16.0,
) -> Objective:
    """The loss of LCM (arXiv 2310.04378, algorithm 1): consistency along the teacher's augmented PF-ODE.

    The weight w ~ U[w_min, w_max] of each sample is told to the model as the part `w` of its condition, and guides the
    teacher, which is not told it. `pairs` skip steps of the table: (t_{n+k}, t_n).

    Args:
        consistency_model: the consistency function f, the identity at its least time.
        teacher: a diffusion model, told as the model is.
        schedule: of both.
        null: the row that tells nothing: a dict of several parts, `w` among them, a vector of one number.
        pairs: p(t, s), which may depend on the training step.
        distance: d, per sample.
        pair_weight: w(t, s).
        w_min: in (-inf, inf), at most w_max; w = 1 is the teacher without guidance. The paper's omega is w - 1, which
            goes from 5 to 15 in diffusers' training script.
        w_max: in (-inf, inf).

    Raises:
        ValueError: a weight outside of its range, or a condition without `w` or anything to be guided by.
    """
    within('(-inf, inf)', w_min=w_min, w_max=w_max)
    if w_min > w_max:
        raise ValueError(f'w_min must be at most w_max; got {w_min} and {w_max}')
    if not isinstance(null, dict) or len(null) < 2 or getattr(null.get('w'), 'values', jnp.zeros(())).shape != (1,):
        raise ValueError(
            f'the weight of a guidance is told as the part w of a condition, {Part((1,))}, beside others, as '
            'config.data.name=latents has it'
        )
    inner = consistency(consistency_model, schedule, pairs, distance, pair_weight, guided_step(teacher, schedule, null))

    def loss(params, frozen, key, batch, step):
        key_w, key_loss = jax.random.split(key)
        w = jax.random.uniform(key_w, (len(batch.x), 1), minval=w_min, maxval=w_max)
        return inner.loss(params, frozen, key_loss, batch._replace(cond=_told(batch.cond, w)), step)

    return Objective(None, loss, reads_teacher=True)


def guided_step(teacher: Model, schedule: Schedule, null: Cond) -> OdeStep:
    """DDIM's step under guidance by the weight that the batch is told, w Psi(c) + (1 - w) Psi(nothing).

    By one step of DDIM on the guided x_0: Psi is affine in x_0, and the weights sum to one (arXiv 2310.04378, eq. 15).
    """

    def step(frozen, batch):
        n, w = len(batch.x), batch.cond['w'].values[:, 0]
        cond, nothing = (_untold(cond) for cond in (batch.cond, repeat_row(null, n)))
        denoise = guidance.classifier_free(lambda c: teacher(frozen.teacher, c, None), cond, nothing, w)
        return lambda x_t, t, s: ddim_step(schedule, x_t, denoise(x_t, t), t, s)

    return OdeStep(step, reads_teacher=True)


def _told(cond: Cond, w: Array) -> dict[str, Any]:
    return {**cond, 'w': Masked(w, jnp.ones(len(w), bool))}


def _untold(cond: Cond) -> dict[str, Any]:
    return {**cond, 'w': Masked(*jax.tree.map(jnp.zeros_like, tuple(cond['w'])))}
