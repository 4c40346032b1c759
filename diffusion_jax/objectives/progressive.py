"""Progressive distillation: a student whose one DDIM step is two of its teacher's (arXiv 2202.00512)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import mean_square, per_sample
from diffusion_jax.drift import ddim_step
from diffusion_jax.objectives.trains import trains
from diffusion_jax.objectives.weights import Weight
from diffusion_jax.schedules import q_sample
from diffusion_jax.times.curricula import Curriculum
from diffusion_jax.types import Model, Objective, Schedule


@trains('denoise')
def progressive(
    model: Model, teacher: Model, schedule: Schedule, N: Curriculum, weight: Weight, t_max: float = 1.0
) -> Objective:
    """The loss E w(t) ||D(x_t, t) - x~||^2, a mean over batch and event axes (arXiv 2202.00512, algorithm 2).

    The teacher is `frozen.teacher`, without dropout; see `frozen.staged_teacher` for how students become teachers.

    Args:
        model: the student. Its parameterisation must stay finite where alpha = 0: x0 or v, not eps.
        teacher: the teacher.
        schedule: the schedule of both.
        N: number of the student's steps at a training step, e.g. `curricula.halving`; the teacher's is 2 N.
        weight: w(t); the paper's are `weights.truncated_snr` and `weights.v`.
        t_max: the noisiest time; sampling is `samplers.ddim` on `times.uniform(N, t_max)`.
    """

    def loss(params, frozen, key, batch, step):
        key_i, key_eps, key_dropout = jax.random.split(key, 3)
        n = N(step)
        i = jax.random.randint(key_i, batch.x.shape[:1], 1, n + 1)
        t, u, s = (t_max * ((i - k) / n) for k in (0.0, 0.5, 1.0))
        x_t = q_sample(schedule, batch.x, t, jax.random.normal(key_eps, batch.x.shape))
        denoise = teacher(frozen.teacher, batch.cond, None)
        x_0_t = denoise(x_t, t)
        x_0_u = denoise(ddim_step(schedule, x_t, x_0_t, t, u), u)
        w = per_sample(share_of_the_first_step(schedule, t, u, s), x_t)
        target = jax.lax.stop_gradient(w * x_0_t + (1 - w) * x_0_u)
        x_0 = model(params, batch.cond, key_dropout)(x_t, t)
        value = jnp.mean(weight(t) * mean_square(x_0 - target))
        return value, {'loss': value}

    return Objective(None, loss, reads_teacher=True)


def share_of_the_first_step(
    schedule: Schedule, t: Float[Array, ' b'], u: Float[Array, ' b'], s: Float[Array, ' b']
) -> Float[Array, ' b']:
    """How much of x~ is the prediction at t, if DDIM steps t -> u -> s are to equal one step t -> s; the rest is at u.

    A DDIM step is x_s / sigma_s = x_t / sigma_t + (rho_s - rho_t) x_0 with rho = alpha / sigma, so that
    x~ = ((rho_u - rho_t) x_0(x_t) + (rho_s - rho_u) x_0(x_u)) / (rho_s - rho_t). That is the paper's
    x~ = (x_s - sigma_s / sigma_t x_t) / (alpha_s - sigma_s / sigma_t alpha_t), without its quotient of two small
    differences: in float32 and at N = 4096 their rounding alone is a third of the loss of a copy of the teacher.
    Finite at alpha(t) = 0; at sigma(s) = 0 all of x~ is the prediction at u.
    """
    # Times sigma_s, as 1 / sigma_s may be infinite.
    rho_t, rho_u = (schedule.sigma(s) / schedule.sigma(v) * schedule.alpha(v) for v in (t, u))
    return (rho_u - rho_t) / (schedule.alpha(s) - rho_t)
