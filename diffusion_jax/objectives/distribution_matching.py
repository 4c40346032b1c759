"""Distribution matching distillation: DMD (arXiv 2311.18828) as DMD2 trains it (arXiv 2405.14867), without its GAN.

No pairs, no regression: a second learner, the fake score, follows the generator by several updates for each of its own.
"""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from diffusion_jax.axes import as_times, event_axes, mean_square, per_sample, where_rows
from diffusion_jax.objectives.denoising import denoising
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.weights import Weight
from diffusion_jax.ranges import whole, within
from diffusion_jax.samplers import fold_in, prior, renoise
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import TimeDistribution
from diffusion_jax.types import Model, Objective, Schedule, SecondLearner


@trains('consistency')
def distribution_matching(
    consistency_model: Model,
    teacher: Model,
    schedule: Schedule,
    p_t: TimeDistribution,
    weight: Weight,
    gradient_weight: Weight | None = None,
    updates: int = 5,
    at: Sequence[float] | None = None,
) -> Objective:
    """A generator x = G(z) whose samples, noised, have the teacher's score: the gradient of KL(fake || real) over p(t).

    With s = (alpha D - x_t) / sigma^2 the scores of the teacher, D_real, and of the fake score's denoiser, D_fake, at
    x_t = alpha x + sigma eps (arXiv 2311.18828, eq. 4, 5), the gradient (eq. 7) is that of the mean of

        w_t alpha (s_fake - s_real) . x = w (D_fake - D_real) . x,    w_t = w sigma^2 / alpha^2,

    where all but the last x = G(z) is constant: no denoiser is differentiated, not even by its x_t. The loss has this
    gradient, a mean over batch and event axes; its value, half the mean square of w (D_fake - D_real), only tells how
    far the two are apart. The fake score minimises the denoising loss of samples that are constant to it (eq. 6). It
    begins as the teacher; to the generator it is `frozen.other`, and so is the generator to it.

    Args:
        consistency_model: the generator, asked once, at (sigma(t) eps, t) with t = at[0]; sampled by `renoise`.
        teacher: the teacher, and the fake score's network. `frozen.teacher` are the teacher's parameters.
        schedule: its schedule, one with sigma(at[0]) much larger than alpha(at[0]) times the data.
        p_t: p(t) of both losses; see `times.karras_uniform`.
        weight: w(t) of the fake score's denoising loss, that of the teacher's training.
        gradient_weight: w(t); None for the paper's, alpha / mean |D_real - x| of each sample (eq. 8). That has heavy
            tails where samples have few dimensions: `weights.uniform` for points.
        updates: of the fake score for each of the generator, in [1, inf) (DMD2's two time-scale update rule; its
            released ImageNet-64 run has 5).
        at: decreasing times in (0, inf), by default t_max alone. With more of them, each sample is G at a random one,
            from what `renoise` makes of the times before, which is constant (DMD2's simulation of inference).

    Raises:
        ValueError: updates or at are not in their range.
    """
    whole('[1, inf)', updates=updates)
    at = (schedule.t_max,) if at is None else tuple(at)
    within('(0, inf)', at=at)
    if not at or any(t <= s for t, s in pairwise(at)):
        raise ValueError(f'at must be decreasing times; got {at}')

    def generate(params, key, batch):
        key_start, key_inputs, key_dropout = jax.random.split(key, 3)
        G = consistency_model(params, batch.cond, key_dropout)
        return G(*_inputs(G, schedule, at, key_inputs, prior(key_start, schedule, batch.x.shape, at[0])))

    def loss(params, frozen, key, batch, step):
        key_x, key_t, key_eps = jax.random.split(key, 3)
        x = generate(params, key_x, batch)
        x_0, t = jax.lax.stop_gradient(x), p_t(key_t, x.shape[:1])
        x_t = q_sample(schedule, x_0, t, jax.random.normal(key_eps, x.shape))
        D_real = teacher(frozen.teacher, batch.cond, None)(x_t, t)
        D_fake = teacher(frozen.other, batch.cond, None)(x_t, t)
        if gradient_weight is None:
            w = schedule.alpha(t) / jnp.mean(jnp.abs(D_real - x_0), axis=event_axes(x))
        else:
            w = gradient_weight(t)
        gradient = jax.lax.stop_gradient(per_sample(w, x) * (D_fake - D_real))
        value = jnp.mean(mean_square(x - x_0 + gradient)) / 2  # x - x_0 is 0, with the derivative of x
        return value, {'loss': value}

    denoise = denoising(teacher, schedule, p_t, weight).loss

    def loss_of_the_fake(fake, frozen, key, batch, step):
        key_x, key_denoise = jax.random.split(key)
        x = jax.lax.stop_gradient(generate(frozen.other, key_x, batch))
        return denoise(fake, frozen, key_denoise, batch._replace(x=x), step)

    second = SecondLearner('fake', lambda key, teacher: teacher, loss_of_the_fake, updates)
    return Objective(None, loss, reads_teacher=True, second=second)


def _inputs(G, schedule, at, key, x):
    """What the generator is asked, from x at at[0]: (x_t, t) of each sample, t one of `at` in equal shares."""
    key_which, key = jax.random.split(key)
    which = jax.random.randint(key_which, x.shape[:1], 0, len(at))
    sampler = renoise(G, schedule)
    state = found = sampler.init(x)
    times = as_times(at, x)
    for i, (t, s) in enumerate(pairwise(times)):
        state = sampler.step(fold_in(key, i), state, t, s)
        found = where_rows(which > i, state, found)
    return jax.lax.stop_gradient(found.x), times[which]
