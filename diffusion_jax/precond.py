"""Parameterisations: what a network F predicts, as four coefficients of D(x, t) = c_skip x + c_out F(c_in x, c_noise).

Downstream code sees only the denoiser D: (x_t, t) -> x_0. `c_noise` is the number that the network embeds. For models
of a table with T steps it is scale (t - 1 / T), by default 1000 t - 1000 / T: DDPM's index k - 1 at t = k / T, scaled
to [0, 1000) as iDDPM does for other T; with scale = T it is the index itself. An argument outside of the range that its
docstring gives is a ValueError.
"""

import math

import jax
import jax.numpy as jnp

from diffusion_jax.axes import per_sample
from diffusion_jax.mean_velocity import average_velocity as average_velocity
from diffusion_jax.mean_velocity import flow_map as flow_map
from diffusion_jax.mean_velocity import instantaneous as instantaneous
from diffusion_jax.ranges import whole, within
from diffusion_jax.schedules import posterior_coefficients
from diffusion_jax.types import (
    CategoricalModel,
    ClassifierModel,
    Model,
    ModelWithVariance,
    Network,
    Precond,
    Schedule,
)

__all__ = [
    'boundary',
    'consistency',
    'continuous_eps',
    'edm',
    'eps',
    'flow',
    'interpolant',
    'mu',
    'rescaled',
    'score',
    'trig',
    'v',
    'x0',
]


def _one(t):
    return jnp.ones_like(t)


def _table_index(T, scale=1000.0):
    whole('[1, inf)', T=T)
    within('(0, inf)', scale=scale)
    return lambda t: scale * t - scale / T


def eps(schedule: Schedule, T: int = 1000, scale: float = 1000.0) -> Precond:
    """F predicts the noise eps (arXiv 2006.11239, eq. 15 solved for x_0), undefined where alpha = 0.

    T is in [1, inf), scale in (0, inf).
    """
    return Precond(
        c_skip=lambda t: 1 / schedule.alpha(t),
        c_out=lambda t: -schedule.sigma(t) / schedule.alpha(t),
        c_in=_one,
        c_noise=_table_index(T, scale),
    )


def continuous_eps(schedule: Schedule, scale: float = 999.0) -> Precond:
    """F predicts the noise and is told scale t, scale in (0, inf): that of the VP SDE (arXiv 2011.13456, its code)."""
    within('(0, inf)', scale=scale)
    return eps(schedule)._replace(c_noise=lambda t: scale * t)


def score() -> Precond:
    """F predicts sigma times the score on the VE schedule, told ln(sigma / 2) (VE of arXiv 2206.00364, table 1)."""
    return Precond(c_skip=_one, c_out=lambda t: t, c_in=_one, c_noise=lambda t: jnp.log(t / 2))


def x0(T: int = 1000, scale: float = 1000.0) -> Precond:
    """F predicts the clean data x_0; T in [1, inf), scale in (0, inf)."""
    return Precond(c_skip=jnp.zeros_like, c_out=_one, c_in=_one, c_noise=_table_index(T, scale))


def v(schedule: Schedule, T: int = 1000, scale: float = 1000.0) -> Precond:
    """F predicts v = alpha eps - sigma x_0 (arXiv 2202.00512, section 4); finite where alpha = 0 or sigma = 0.

    T is a whole number in [1, inf), scale in (0, inf).
    """

    def norm2(t):
        return schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2

    return Precond(
        c_skip=lambda t: schedule.alpha(t) / norm2(t),
        c_out=lambda t: -schedule.sigma(t) / norm2(t),
        c_in=_one,
        c_noise=_table_index(T, scale),
    )


def mu(schedule: Schedule, T: int = 1000) -> Precond:
    """F predicts the mean of q(x_{t - 1/T} | x_t, x_0) (arXiv 2006.11239, eq. 8); T in [1, inf)."""

    def coefficients(t):
        # Half a step is the least distance from 0 of any point of the table but 0 itself.
        s = jnp.where(t < 1.5 / T, 0.0, t - 1 / T)
        return posterior_coefficients(schedule, t, s)

    return Precond(
        c_skip=lambda t: -coefficients(t)[0] / coefficients(t)[1],
        c_out=lambda t: 1 / coefficients(t)[1],
        c_in=_one,
        c_noise=_table_index(T),
    )


def flow(schedule: Schedule) -> Precond:
    """F predicts eps - x_0, the velocity of rectified flow (arXiv 2209.03003); finite for all alpha, sigma."""
    return Precond(
        c_skip=lambda t: 1 / (schedule.alpha(t) + schedule.sigma(t)),
        c_out=lambda t: -schedule.sigma(t) / (schedule.alpha(t) + schedule.sigma(t)),
        c_in=_one,
        c_noise=lambda t: 1000 * t,
    )


def interpolant(schedule: Schedule) -> Precond:
    """F predicts x_0 - eps and is told 1 - t: time goes from noise to data (SiT, arXiv 2401.08740, official code)."""
    to_noise = flow(schedule)
    return to_noise._replace(c_out=lambda t: -to_noise.c_out(t), c_noise=lambda t: 1 - t)


def edm(sigma_data: float = 0.5) -> Precond:
    """EDM's preconditioning for the VE schedule, t = sigma, sigma_data in (0, inf) (arXiv 2206.00364, table 1)."""
    within('(0, inf)', sigma_data=sigma_data)

    def norm(t):
        return jnp.sqrt(t**2 + sigma_data**2)

    return Precond(
        c_skip=lambda t: sigma_data**2 / (t**2 + sigma_data**2),
        c_out=lambda t: t * sigma_data / norm(t),
        c_in=lambda t: 1 / norm(t),
        c_noise=lambda t: jnp.log(t) / 4,
    )


def consistency(sigma_data: float = 0.5, sigma_min: float = 0.002, noise_scale: float = 0.25) -> Precond:
    """A consistency function's on the VE schedule: the identity at t = sigma_min (arXiv 2303.01469, appendix C).

    Args:
        sigma_data: standard deviation of the data, in (0, inf).
        sigma_min: the time at which the function is the identity, in [0, inf); with 0, as ECT has it, these are EDM's
            coefficients.
        noise_scale: c_noise = noise_scale ln t, in (0, inf). 1/4 is EDM's and the JAX release's, 250 the PyTorch
            release's.
    """
    within('(0, inf)', sigma_data=sigma_data, noise_scale=noise_scale)
    within('[0, inf)', sigma_min=sigma_min)

    def norm(t):
        return jnp.sqrt(t**2 + sigma_data**2)

    return Precond(
        c_skip=lambda t: sigma_data**2 / ((t - sigma_min) ** 2 + sigma_data**2),
        c_out=lambda t: (t - sigma_min) * sigma_data / norm(t),
        c_in=lambda t: 1 / norm(t),
        # Finite at t = 0, where c_out = 0 could not undo a NaN.
        c_noise=lambda t: noise_scale * jnp.log(jnp.maximum(t, jnp.finfo(t.dtype).tiny)),
    )


def boundary(of: Precond, T: int = 1000, sigma_data: float = 0.5, scaling: float = 10.0) -> Precond:
    """A consistency function's on any schedule: c_skip x + c_out D(x, t), the identity at t = 1 / T.

    With tau = scaling (T t - 1), c_skip = sigma_data^2 / (tau^2 + sigma_data^2) and c_out = tau / sqrt(tau^2 +
    sigma_data^2), for any D such as `eps`'s (arXiv 2310.04378, its code).

    T is a whole number in [1, inf); sigma_data and scaling are in (0, inf).
    """
    index = _table_index(T, float(T))
    within('(0, inf)', sigma_data=sigma_data, scaling=scaling)

    def skip(t):
        return sigma_data**2 / ((scaling * index(t)) ** 2 + sigma_data**2)

    def out(t):
        return scaling * index(t) / jnp.sqrt((scaling * index(t)) ** 2 + sigma_data**2)

    return Precond(
        c_skip=lambda t: skip(t) + out(t) * of.c_skip(t),
        c_out=lambda t: out(t) * of.c_out(t),
        c_in=of.c_in,
        c_noise=of.c_noise,
    )


def trig(sigma_data: float = 1.0) -> Precond:
    """TrigFlow's D = cos(t) x - sin(t) sigma_data F(x / sigma_data, t) (arXiv 2410.11081, section 3).

    sigma_data is in (0, inf).
    """
    within('(0, inf)', sigma_data=sigma_data)
    return Precond(
        c_skip=jnp.cos,
        c_out=lambda t: -sigma_data * jnp.sin(t),
        c_in=lambda t: jnp.full_like(t, 1 / sigma_data),
        c_noise=lambda t: t,
    )


def rescaled(of: Precond, schedule: Schedule) -> Precond:
    """Coefficients for the VE schedule, on another one: D(x, t) = D_VE(x / alpha, sigma / alpha).

    Every Gaussian path is the VE path up to this scaling; needs alpha(t) > 0.
    """

    def noise(t):
        return schedule.sigma(t) / schedule.alpha(t)

    return Precond(
        c_skip=lambda t: of.c_skip(noise(t)) / schedule.alpha(t),
        c_out=lambda t: of.c_out(noise(t)),
        c_in=lambda t: of.c_in(noise(t)) / schedule.alpha(t),
        c_noise=lambda t: of.c_noise(noise(t)),
    )


def denoiser(precond: Precond, net: Network) -> Model:
    """Binds a network to a parameterisation: `model(params, cond, key)` is a Denoiser."""

    def model(params, cond=None, key=None):
        def denoise(x, t):
            F = net(params, per_sample(precond.c_in(t), x) * x, precond.c_noise(t), cond, key)
            return per_sample(precond.c_skip(t), x) * x + per_sample(precond.c_out(t), x) * F

        return denoise

    return model


def denoiser_with_variance(precond: Precond, net: Network) -> ModelWithVariance:
    """The same for a network with twice the channels, whose second half are the variance logits (arXiv 2102.09672)."""

    def model(params, cond=None, key=None):
        def denoise(x, t):
            out = net(params, per_sample(precond.c_in(t), x) * x, precond.c_noise(t), cond, key)
            F, logits = jnp.split(out, 2, axis=-1)
            return per_sample(precond.c_skip(t), x) * x + per_sample(precond.c_out(t), x) * F, logits

        return denoise

    return model


def without_variance(model: ModelWithVariance) -> Model:
    """Drops the variance logits, for everybody who wants x_0 alone."""
    return lambda params, cond=None, key=None: lambda x, t: model(params, cond, key)(x, t)[0]


def classifier(precond: Precond, net: Network) -> ClassifierModel:
    """The same for a network of logits: log p(y | x_t) = log softmax F(c_in x_t, c_noise); nothing is skipped to it.

    So that a classifier sees x_t and its noise level as a denoiser does (arXiv 2105.05233, section 4.1).
    """

    def model(params, cond=None, key=None):
        def classify(x, t):
            logits = net(params, per_sample(precond.c_in(t), x) * x, precond.c_noise(t), cond, key)
            return jax.nn.log_softmax(logits, axis=-1)

        return classify

    return model


def logits(net: Network, levels: int) -> CategoricalModel:
    """The network itself, which sees tokens and masks as one-hot channels and answers with channels of logits.

    x_t `[B, ..., C]` of levels goes in as `[B, ..., C (levels + 1)]`, sqrt(levels + 1) where a channel is hot, so that
    the mean square is 1: the first layer is a table of embeddings. `[B, ..., C levels]` comes out. The network is not
    told the time (`c_noise` is 0): the posterior of masked tokens depends on the tokens that are there alone (arXiv
    2406.07524). levels is in [2, inf).
    """
    whole('[2, inf)', levels=levels)

    def model(params, cond=None, key=None):
        def categorical(x, t):
            hot = jax.nn.one_hot(x, levels + 1) * math.sqrt(levels + 1)
            out = net(params, hot.reshape(*x.shape[:-1], -1), jnp.zeros_like(t), cond, key)
            return out.reshape(*x.shape, levels)

        return categorical

    return model
