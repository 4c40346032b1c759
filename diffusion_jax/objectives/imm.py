"""Inductive moment matching (arXiv 2503.07565): what jumps from t has the moments of what jumps from a bit earlier."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.drift import ddim_step
from diffusion_jax.errors import UserError
from diffusion_jax.objectives.kernels import Kernel
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.weights import Weight
from diffusion_jax.precond import flow_map
from diffusion_jax.ranges import whole, within
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import Pairs
from diffusion_jax.types import AverageVelocityModel, Objective, Schedule


@trains('average_velocity')
def imm(
    average_velocity: AverageVelocityModel,
    schedule: Schedule,
    pairs: Pairs,
    kernel: Kernel,
    weight: Weight,
    M: int = 4,
    decrement: float = 160 / 2**12,
) -> Objective:
    """The loss E w(t) MMD^2(X(x_t, t, s), sg X(x_r, r, s)), a mean over groups of M samples with equal t, s, r.

    The squared discrepancy is that of the group's two empirical measures, all M^2 pairs of samples included (the
    V-statistic): (1 / M^2) sum_ij k(y_i, y_j) + k(z_i, z_j) - 2 k(y_i, z_j). Its pairs i != j are without bias, and at
    the exact map their gradient is zero in expectation; the pairs (y_i, z_i) come from the same data and noise, so that
    there 1 / M of what `M = 1` has is left. M = 1 is a consistency loss, with `kernels.energy(2)` of twice the squared
    distance. x_r is x_t interpolated to r as in DDIM, r = max(s, eta^-1(eta(t) - decrement)) with eta = sigma / alpha.

    Written from public reimplementations; the paper could not be read, and its authors released no training.
    Rows of a batch that follow each other form a group, whatever they are told: conditions are not kept apart.

    Args:
        average_velocity: the average velocity u, whose flow map X is trained; `frozen.target` holds the parameters of
            the second X, and None stands for the current ones, behind a stop-gradient.
        schedule: its schedule; the paper's is rectified flow.
        pairs: p(t, s), drawn once a group: `times.nested_pairs`, with alpha > 0 at t.
        kernel: k; see `kernels.laplace`.
        weight: w(t); the paper's is `weights.imm`.
        M: samples in a group, in [1, inf); it divides the batch.
        decrement: of eta from t to r, in (0, inf): (160 - 0) / 2^12, as reimplementations have it.

    Raises:
        ValueError: M or the decrement outside of its range.
        UserError: later, for a batch that is no whole number of groups.
    """
    whole('[1, inf)', M=M)
    within('(0, inf)', decrement=decrement)
    X = flow_map(average_velocity)

    def loss(params, frozen, key, batch, step):
        B = len(batch.x)
        if B % M:
            raise UserError(f'config.objective.M={M} does not divide the {B} samples of a batch (or of a part of it)')
        key_pairs, key_eps, key_dropout = jax.random.split(key, 3)
        t_g, s_g = pairs(key_pairs, (B // M,), step)
        t, s, r = (jnp.repeat(v, M) for v in (t_g, s_g, earlier(schedule, t_g, s_g, decrement)))
        x_t = q_sample(schedule, batch.x, t, jax.random.normal(key_eps, batch.x.shape))
        x_r = ddim_step(schedule, x_t, batch.x, t, r)
        target = frozen.target_or(params)
        # One dropout key: the discrepancy is between two times, not between two networks.
        y = X(params, batch.cond, key_dropout)(x_t, t, s)
        z = jax.lax.stop_gradient(X(target, batch.cond, key_dropout)(x_r, r, s))
        y, z = (v.reshape(B // M, M, *v.shape[1:]) for v in (y, z))
        value = jnp.mean(weight(t_g) * mmd2(kernel, y, z, t_g, s_g))
        return value, {'loss': value}

    return Objective(None, loss)


def mmd2(
    kernel: Kernel, y: Float[Array, 'g m ...'], z: Float[Array, 'g m ...'], t: Float[Array, ' g'], s: Float[Array, ' g']
) -> Float[Array, ' g']:
    """The squared maximum mean discrepancy of two groups, as measures of M atoms each: the V-statistic."""
    k = kernel(y, y, t, s) + kernel(z, z, t, s) - 2 * kernel(y, z, t, s)
    return jnp.mean(k, axis=(1, 2))


def earlier(schedule: Schedule, t: Float[Array, ' b'], s: Float[Array, ' b'], decrement: float) -> Float[Array, ' b']:
    """The r with eta(r) = eta(t) - decrement, s where that is below it; eta = sigma / alpha grows in time.

    Needs alpha(t) > 0. By bisection to the last digit, so for any schedule.
    """
    eta = schedule.sigma(t) / schedule.alpha(t) - decrement

    def halve(_, ends):
        lo, hi = ends
        r = (lo + hi) / 2
        reached = schedule.sigma(r) >= eta * schedule.alpha(r)
        return jnp.where(reached, lo, r), jnp.where(reached, r, hi)

    return jnp.maximum(s, jax.lax.fori_loop(0, jnp.finfo(t.dtype).nmant + 8, halve, (jnp.zeros_like(t), t))[1])
