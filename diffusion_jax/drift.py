"""The differential equations of a schedule: probability-flow ODE and its exact steps, score, SDE coefficients."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.schedules import eps_from_x_0, rates
from diffusion_jax.types import Denoiser, Schedule, VectorField


def velocity(denoise: Denoiser, schedule: Schedule) -> VectorField:
    """The probability-flow ODE dx/dt = alpha' x_0 + sigma' eps, with x_0 = D(x, t) and the eps that x holds beside it.

    The same field as arXiv 2011.13456, eq. 13, in a form that never divides by alpha. Needs sigma(t) > 0.
    """

    def dx_dt(x, t):
        x_0 = denoise(x, t)
        return path_velocity(schedule, x_0, eps_from_x_0(schedule, x, x_0, t), t)

    return dx_dt


def path_velocity(
    schedule: Schedule, x_0: Float[Array, 'b ...'], eps: Float[Array, 'b ...'], t: Float[Array, '*b']
) -> Float[Array, 'b ...']:
    """The velocity alpha' x_0 + sigma' eps of the path through x_0 and eps: eps - x_0 on rectified flow."""
    d_alpha, d_sigma = rates(schedule, t)
    return per_sample(d_alpha, x_0) * x_0 + per_sample(d_sigma, x_0) * eps


def score(denoise: Denoiser, schedule: Schedule) -> VectorField:
    """Score of the noised marginal, (alpha D(x, t) - x) / sigma^2 (Tweedie's formula). Needs sigma(t) > 0."""

    def grad_log_p(x, t):
        return -eps_from_x_0(schedule, x, denoise(x, t), t) / per_sample(schedule.sigma(t), x)

    return grad_log_p


def sde_coefficients(schedule: Schedule, t: Float[Array, '*t']) -> tuple[Float[Array, '*t'], Float[Array, '*t']]:
    """Coefficients f and g^2 of dx = f x dt + g dw (arXiv 2107.00630). Needs alpha > 0.

    f = alpha' / alpha and g^2 = (sigma^2)' - 2 f sigma^2.
    """
    d_alpha, d_sigma = rates(schedule, t)
    sigma = schedule.sigma(t)
    f = d_alpha / schedule.alpha(t)
    return f, 2 * sigma * d_sigma - 2 * f * sigma**2


def ddim_step(
    schedule: Schedule,
    x: Float[Array, 'b ...'],
    x_0: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    s: Float[Array, ' b'],
) -> Float[Array, 'b ...']:
    """The ODE solved for constant x_0: x_s / sigma_s = x_t / sigma_t + (alpha_s / sigma_s - alpha_t / sigma_t) x_0."""
    ratio = schedule.sigma(s) / schedule.sigma(t)
    return per_sample(ratio, x) * x + per_sample(schedule.alpha(s) - ratio * schedule.alpha(t), x) * x_0


def x_0_of_ddim_step(
    schedule: Schedule,
    x_t: Float[Array, 'b ...'],
    x_s: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    s: Float[Array, ' b'],
) -> Float[Array, 'b ...']:
    """The x_0 with which a DDIM step leads from x_t to x_s, s < t: `ddim_step` solved for it (arXiv 2202.00512)."""
    ratio = schedule.sigma(s) / schedule.sigma(t)
    gap = schedule.alpha(s) - ratio * schedule.alpha(t)
    return (x_s - per_sample(ratio, x_t) * x_t) / per_sample(gap, x_t)


def ddim_step_eps(
    schedule: Schedule,
    x: Float[Array, 'b ...'],
    eps: Float[Array, 'b ...'],
    t: Float[Array, ' b'],
    s: Float[Array, ' b'],
) -> Float[Array, 'b ...']:
    """The ODE solved for constant eps: x_s / alpha_s = x_t / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) eps."""
    # The result without signal is thrown away, but it must not be NaN.
    ratio = schedule.alpha(s) / jnp.where(without_signal(schedule, t), 1, schedule.alpha(t))
    return per_sample(ratio, x) * x + per_sample(schedule.sigma(s) - ratio * schedule.sigma(t), x) * eps


def without_signal(schedule: Schedule, t: Float[Array, '*b']) -> Bool[Array, '*b']:
    """Whether x / alpha has lost half of its digits at t, as where cos(pi / 2) should be 0 and is not."""
    return schedule.alpha(t) < jnp.sqrt(jnp.finfo(t.dtype).eps) * schedule.sigma(t)


def is_stiff(schedule: Schedule, t: Float[Array, '*b'], s: Float[Array, '*b'], bound: float) -> Bool[Array, '*b']:
    """Whether a step is too long for explicit methods in eps, d(x / alpha) = eps dL with L = sigma / alpha.

    For data of unit variance d eps / d(x / alpha) is L / (1 + L^2): the largest of it between t and s times L_t - L_s
    is compared with the bound, about 2 for methods of Runge-Kutta's kind. Grids of 10 steps of EDM or DDPM have less;
    the first step from a table's end at L = 1000 has hundreds, and multiplies every error in eps by that. Steps from
    no signal are stiff, too. The answer is the same in all precisions.
    """
    a_t, a_s = schedule.alpha(t), schedule.alpha(s)
    L_t, L_s = (jnp.where(a > 0, schedule.sigma(u) / jnp.where(a > 0, a, 1), jnp.inf) for a, u in ((a_t, t), (a_s, s)))
    steepest = jnp.clip(1.0, L_s, jnp.maximum(L_s, L_t))
    return without_signal(schedule, t) | ~((L_t - L_s) * steepest <= bound * (1 + steepest**2))
