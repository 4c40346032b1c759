"""Networks of two times: the average velocity u(x_t, s, t) of MeanFlow, and the flow map and the denoiser in it."""

import jax.numpy as jnp

from diffusion_jax.axes import per_sample
from diffusion_jax.ranges import within
from diffusion_jax.schedules import rates
from diffusion_jax.types import AverageVelocityModel, FlowModel, Model, Network, Schedule


def average_velocity(net: Network, scale: float = 1.0) -> AverageVelocityModel:
    """MeanFlow's u(x_t, s, t): the network itself, which embeds (t, t - s) (arXiv 2505.13447, section 4.3, table 1c).

    Args:
        net: takes a `c_noise [B, 2]`.
        scale: of both embedded times, in (0, inf). 1, the released codes', keeps du/dt tame: 1000 lets it grow a
            thousandfold.
    """
    within('(0, inf)', scale=scale)

    def model(params, cond=None, key=None):
        return lambda x, t, s: net(params, x, scale * jnp.stack([t, t - s], axis=-1), cond, key)

    return model


def flow_map(average_velocity: AverageVelocityModel) -> FlowModel:
    """The map x_s = x_t - (t - s) u(x_t, s, t), the identity at s = t (arXiv 2505.13447, eq. 12)."""

    def model(params, cond=None, key=None):
        u = average_velocity(params, cond, key)
        return lambda x, t, s: x - per_sample(t - s, x) * u(x, t, s)

    return model


def instantaneous(average_velocity: AverageVelocityModel, schedule: Schedule) -> Model:
    """The denoiser in a flow map: the x_0 whose velocity is u(x_t, t, t) (arXiv 2505.13447, section 4.1).

    Of x_t = alpha x_0 + sigma eps and v = alpha' x_0 + sigma' eps; x_t - t v on rectified flow, finite for all t.
    """

    def model(params, cond=None, key=None):
        u = average_velocity(params, cond, key)

        def denoise(x, t):
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            d_alpha, d_sigma = rates(schedule, t)
            x_0 = per_sample(d_sigma, x) * x - per_sample(sigma, x) * u(x, t, t)
            return x_0 / per_sample(alpha * d_sigma - sigma * d_alpha, x)

        return denoise

    return model
