"""Truncated consistency models (arXiv 2410.14895): a second stage that learns nothing but the noisy end of the path."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import where_rows
from diffusion_jax.objectives.distances import Distance
from diffusion_jax.objectives.pair_weights import PairWeight
from diffusion_jax.objectives.trains import trains
from diffusion_jax.ranges import within
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import Model, Objective, Schedule


@trains('consistency', taught_by='consistency')
def truncated_consistency(
    consistency_model: Model,
    teacher: Model,
    schedule: Schedule,
    pairs: Pairs,
    distance: Distance,
    pair_weight: PairWeight,
    t_min: float,
) -> Objective:
    """The consistency loss on [t_min, t_max], whose boundary condition is a consistency model of the whole path.

    E w(t, s) d(f(x_t, t), sg g(x_s, s)), where g is f itself for s > t_min and the first stage, `frozen.teacher`, up to
    there. So f is free below t_min, where nobody asks it: sample it from t_max, with further steps above t_min.

    Written from the paper's abstract and figure: two stages, the first of which gives the boundary and the start. Its
    weights of boundary and consistency pairs and its distribution of times are not here; the share of boundary pairs is
    that of `pairs`, one interval in N - 1 of `times.uniform_pairs(N, sigma_min=t_min)`.

    Args:
        consistency_model: f, the student.
        teacher: the first stage, a consistency function in the same parameterisation.
        schedule: their schedule.
        pairs: p(t, s) with s >= t_min.
        distance: d, per sample.
        pair_weight: w(t, s).
        t_min: where the path is cut, in [0, inf); 0 cuts nothing.
    """
    within('[0, inf)', t_min=t_min)

    def loss(params, frozen, key, batch, step):
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t, x_s = q_sample(schedule, batch.x, t, eps), q_sample(schedule, batch.x, s, eps)
        f_t = consistency_model(params, batch.cond, key_dropout)(x_t, t)
        own = consistency_model(frozen.target_or(params), batch.cond, key_dropout)(x_s, s)
        first = teacher(frozen.teacher, batch.cond, None)(x_s, s)
        g = jax.lax.stop_gradient(where_rows(s > t_min, own, first))
        value = jnp.mean(pair_weight(t, s) * distance(f_t, g))
        return value, {'loss': value}

    return Objective(None, loss, reads_teacher=True)
