"""The differential equations of a schedule: probability-flow ODE, score, SDE coefficients."""

from jaxtyping import Array, Float

from diffusion_jax.schedules import eps_from_x_0, per_sample, rates
from diffusion_jax.types import Denoiser, Schedule


def velocity(denoise: Denoiser, schedule: Schedule) -> Denoiser:
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


def score(denoise: Denoiser, schedule: Schedule) -> Denoiser:
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
