"""Multistep consistency models (arXiv 2403.06807): K segments of time, in each a consistency model to its start."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.drift import x_0_of_ddim_step
from diffusion_jax.objectives.consistency import OdeStep
from diffusion_jax.objectives.distances import Distance
from diffusion_jax.objectives.progressive import share_of_the_first_step
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.weights import Weight
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.times.grids import Grid, decreasing
from diffusion_jax.types import Model, Objective, Schedule


@trains('denoise')
def multistep_consistency(
    model: Model,
    schedule: Schedule,
    pairs: Pairs,
    grid: Grid,
    distance: Distance,
    weight: Weight,
    ode_step: OdeStep | None = None,
) -> Objective:
    """The loss E w(t) d(f(x_t, t), sg x~), a mean over the batch.

    f(x_t, t) is the x_0 whose one DDIM step leads to r, the start of the segment that t is in. With the target's x_0
    at s, r <= s < t, a DDIM step from s ends at r too, and x~ is what makes the same of one step from t: DDIM's inverse
    of the paper's algorithm. One segment is `consistency`; where each pair is a segment of its own the target is x_0,
    as in denoising, or the teacher's. The model is sampled by `samplers.ddim` on the grid.

    Written from the paper's abstract and a public reimplementation, not from its equations; DDIM steps are not adjusted
    for the variance that they lose (the paper's aDDIM). Shapes are those of
    `objectives.consistency`; `frozen.target` None stands for the current parameters, behind a stop-gradient.

    Args:
        model: f, a denoiser of any parameterisation that is finite on (0, t_max]; it is not asked at r.
        schedule: its schedule.
        pairs: p(t, s), t > s; an s before the start of t's segment becomes the start.
        grid: the ends of the K segments, decreasing to 0 as all grids: `times.uniform(K, t_max)`.
        distance: d, per sample, in x_0.
        weight: w(t).
        ode_step: the teacher's step from x_t to x_s; without it x_s is the same data with the same noise.

    Raises:
        ValueError: the grid is no vector of at least 2 times in [0, inf) that decrease.
    """
    start = start_of_segment(grid)

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        r = start(t)
        s = jnp.maximum(s, r)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        if ode_step is None:
            x_s, x_0_t = q_sample(schedule, batch.x, s, eps), batch.x
        else:
            x_s = ode_step.step(frozen, batch)(x_t, t, s)
            x_0_t = x_0_of_ddim_step(schedule, x_t, x_s, t, s)
        target = frozen.target_or(params)
        within = s > r
        u = jnp.where(within, s, t)  # at r there may be no noise to ask about, and nothing is left to be asked
        f_t = model(params, batch.cond, key_dropout)(x_t, t)
        f_s = model(target, batch.cond, key_dropout)(x_s, u)
        # The two DDIM steps t -> s -> r are one of x~ = share x_0_t + (1 - share) f_s: without the inverse's quotient
        # of small differences, and exact for one segment, whose share is 0.
        share = per_sample(jnp.where(within, share_of_the_first_step(schedule, t, u, r), 1), x_t)
        x_tilde = jax.lax.stop_gradient(share * x_0_t + (1 - share) * f_s)
        value = jnp.mean(weight(t) * distance(f_t, x_tilde))
        return value, {'loss': value}

    return Objective(None, loss, reads_teacher=ode_step is not None and ode_step.reads_teacher)


def start_of_segment(grid: Grid):
    """The function from t `[B]` to the next time of the grid below it `[B]`: at a time of the grid the one before.

    Times above the grid belong to its first segment. A t that misses a time of the grid by rounding is that time.

    Raises:
        ValueError: the grid is no vector of at least 2 times in [0, inf) that decrease.
    """
    starts = decreasing(grid)[:0:-1]

    def start(t: Float[Array, ' b']) -> Float[Array, ' b']:
        below = t * (1 - 8 * jnp.finfo(t.dtype).eps)
        ends = jnp.asarray(starts, t.dtype)
        return ends[jnp.clip(jnp.searchsorted(ends, below) - 1, 0)]

    return start
