"""Consistency trajectory models (arXiv 2310.02279) without their GAN: jumps from t to any s, compared at time 0."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import mean_square
from diffusion_jax.drift import path_velocity
from diffusion_jax.objectives.consistency import OdeStep
from diffusion_jax.objectives.distances import Distance
from diffusion_jax.objectives.trains import trains
from diffusion_jax.precond import flow_map, instantaneous
from diffusion_jax.ranges import whole, within
from diffusion_jax.samplers.edm import heun_step
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import AverageVelocityModel, Objective, Schedule


@trains('average_velocity')
def consistency_trajectory(
    average_velocity: AverageVelocityModel,
    schedule: Schedule,
    pairs: Pairs,
    distance: Distance,
    ode_step: OdeStep | None = None,
    h: float = 1 / 32,
    n: int = 4,
    lambda_dsm: float = 1.0,
) -> Objective:
    """The loss E d(X(X(x_t, t, s), s, 0), X(X(Solver(x_t, t, u), u, s), s, 0)) + lambda_dsm E ||u(x_t, t, t) - v||^2.

    Only the inner X of the first has the trained parameters: all others are the target's, behind a stop-gradient. u is
    uniform on [max(s, t - n h), t]: what is learnt is the semigroup of the solver's ODE. The paper's G is the flow map
    X here: on rectified flow its G = s/t x + (1 - s/t) g is X = x - (t - s) u with g = x - t u, so that its DSM term
    ||x_0 - g(x_t, t, t)||^2 is t^2 ||v - u(x_t, t, t)||^2. It is weighted by 1 / t^2 here, as in flow matching, and the
    sum by a constant, where the paper balances gradients. Without a teacher the ODE is the target's own, that of
    u(., t, t), which the second term teaches. Both terms are means over the batch, the second one over the event, too.

    The released code was read for its parameterisation and its balance of gradients; the rest is derived, as the paper
    could not be read.

    Args:
        average_velocity: the average velocity u, whose flow map is trained; `frozen.target` holds the target's
            parameters, and None stands for the current ones.
        schedule: its schedule.
        pairs: p(t, s), s <= t; see `times.nested_pairs`. No t at which the teacher is not finite.
        distance: d, per sample, between clean data.
        ode_step: the teacher's step, whose parameters are `frozen.teacher`; without it Heun's with the model's own.
        h: the solver's longest step, in (0, inf).
        n: how many steps of the solver lead from t to u, in [1, inf).
        lambda_dsm: weight of the second term, in [0, inf).

    Raises:
        ValueError: for an argument outside of its range.
    """
    within('(0, inf)', h=h)
    whole('[1, inf)', n=n)
    within('[0, inf)', lambda_dsm=lambda_dsm)
    X, denoise = flow_map(average_velocity), instantaneous(average_velocity, schedule)

    def loss(params, frozen, key, batch, step):
        key_pairs, key_u, key_eps, key_dropout = jax.random.split(key, 4)
        t, s = pairs(key_pairs, batch.x.shape[:1], step)
        u = t - jax.random.uniform(key_u, t.shape, t.dtype) * jnp.minimum(t - s, n * h)
        eps = jax.random.normal(key_eps, batch.x.shape)
        x_t = q_sample(schedule, batch.x, t, eps)
        target = jax.lax.stop_gradient(frozen.target_or(params))
        if ode_step is None:
            solve = heun_step(denoise(target, batch.cond, None), schedule)
        else:
            solve = ode_step.step(frozen, batch)
        x_u = _steps(solve, x_t, t, u, n)
        # One dropout key: the distance is between two ways, not between two networks.
        X_sg, zero = X(target, batch.cond, key_dropout), jnp.zeros_like(s)
        x_s = X(params, batch.cond, key_dropout)(x_t, t, s)
        x_s_target = X_sg(x_u, u, s)
        ctm = jnp.mean(distance(X_sg(x_s, s, zero), jax.lax.stop_gradient(X_sg(x_s_target, s, zero))))
        v = path_velocity(schedule, batch.x, eps, t)
        dsm = jnp.mean(mean_square(average_velocity(params, batch.cond, key_dropout)(x_t, t, t) - v))
        value = ctm + lambda_dsm * dsm
        return value, {'loss': value, 'ctm': ctm, 'dsm': dsm}

    return Objective(None, loss, reads_teacher=ode_step is not None and ode_step.reads_teacher)


def _steps(solve, x, t, u, n):
    """N equal steps of a solver from t to u."""
    for i in range(n):
        a, b = (t + (u - t) * (j / n) for j in (i, i + 1))
        x = solve(x, a, b)
    return x
