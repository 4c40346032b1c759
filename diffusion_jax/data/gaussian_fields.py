"""Stationary Gaussian random fields on a periodic grid: fields with a known law, and a diffusion in closed form.

x is `[B, H, W, C]` of mean 0. Its Fourier coefficients (`norm='ortho'`) of different wave numbers are independent, and
those of one wave number k have the covariance S(k) = E xhat xhat^H over the channels. So noise adds sigma^2 to every
eigenvalue of every S(k), and all below is linear algebra of C x C matrices.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.ranges import whole, within
from diffusion_jax.types import Denoiser, Key, Schedule


class GaussianField(NamedTuple):
    """The law; S(-k) is the complex conjugate of S(k), as the field is real."""

    spectrum: Complex[Array, 'h w c c']


def power_law(size: int = 32, slope: float = 3.0, k_0: float = 2.0, std: float = 0.5) -> GaussianField:
    """One channel with S(k) proportional to (1 + |k|^2 / k_0^2)^(-slope / 2), k in waves across the grid.

    The size is in [2, 2^15), slope in [0, inf), k_0 and std, a value's standard deviation, in (0, inf).
    """
    return GaussianField(_power(size, slope, k_0, std)[..., None, None] + 0j)


def advected(
    size: int = 16,
    slope: float = 3.0,
    k_0: float = 2.0,
    std: float = 0.5,
    shift: int = 2,
    damping: float = 0.1,
    diffusion: float = 0.02,
) -> GaussianField:
    """Two channels, a state and what it is some time later, of the same `power_law` both.

    The state moves by `shift` cells along both axes, keeps exp(-damping - diffusion |k|^2) of each coefficient, and is
    driven by noise that makes up for the rest: the exact solution of a linear stochastic advection-diffusion equation.
    The shift is in (-2^15, 2^15), damping in (0, inf), diffusion in [0, inf), the others as for `power_law`.
    """
    whole('(-32768, 32768)', shift=shift)
    within('(0, inf)', damping=damping)  # else nothing would drive the mean
    within('[0, inf)', diffusion=diffusion)
    P, (k_y, k_x) = _power(size, slope, k_0, std), _waves(size)
    kept = jnp.exp(-damping - diffusion * (k_y**2 + k_x**2))
    a = kept * jnp.exp(-2j * jnp.pi * shift * (k_y + k_x) / size)
    rows = [[jnp.ones_like(a), a.conj()], [a, jnp.ones_like(a)]]
    return GaussianField(P[..., None, None] * jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2))


def sample(field: GaussianField, key: Key, n: int) -> Float[Array, 'n h w c']:
    """`n` independent fields: white noise through the Cholesky factor of every S(k)."""
    h, w, c, _ = field.spectrum.shape
    white = _fourier(jax.random.normal(key, (n, h, w, c)))
    return _real(jnp.einsum('hwij,nhwj->nhwi', jnp.linalg.cholesky(field.spectrum), white))


def denoiser(field: GaussianField, schedule: Schedule) -> Denoiser:
    """The exact (x_t, t) -> E[x_0 | x_t], Wiener's filter alpha S (alpha^2 S + sigma^2)^-1 of every coefficient."""
    variance, U = jnp.linalg.eigh(field.spectrum)

    def denoise(x: Float[Array, 'b h w c'], t: Float[Array, ' b']) -> Float[Array, 'b h w c']:
        alpha, sigma = (per_sample(scale(t), x) for scale in (schedule.alpha, schedule.sigma))
        noised = alpha**2 * variance[None] + sigma**2
        gain = alpha * variance[None] / jnp.maximum(noised, jnp.finfo(noised.dtype).tiny)
        along = jnp.einsum('hwji,nhwj->nhwi', U.conj(), _fourier(x))
        return _real(jnp.einsum('hwij,nhwj->nhwi', U, gain * along))

    return denoise


class Forecast(NamedTuple):
    """The exact law of the last channel, given those before it."""

    mean: Callable[[Array], Array]  # of the channels before [B, H, W, C - 1] -> [B, H, W, 1]
    std: Float[Array, '']  # of each value
    remainder: GaussianField  # of what the mean leaves


def forecast(field: GaussianField) -> Forecast:
    """For the linear case what an ensemble of forecasts has to be compared with. The field has two channels or more."""
    S = field.spectrum
    S_aa, S_ba, S_bb = S[..., :-1, :-1], S[..., -1:, :-1], S[..., -1:, -1:]
    gain = S_ba @ jnp.linalg.inv(S_aa)
    remainder = S_bb - gain @ S_ba.conj().swapaxes(-1, -2)

    def mean(given):
        return _real(jnp.einsum('hwij,nhwj->nhwi', gain, _fourier(given)))

    return Forecast(mean, jnp.sqrt(remainder.real.mean()), GaussianField(remainder))


def _power(size, slope, k_0, std):
    whole('[2, 32768)', size=size)
    within('[0, inf)', slope=slope)
    within('(0, inf)', k_0=k_0, std=std)
    k_y, k_x = _waves(size)
    P = (1 + (k_y**2 + k_x**2) / k_0**2) ** (-slope / 2)
    return std**2 * P / P.mean()  # a value's variance is the mean over all wave numbers


def _waves(size):
    k = jnp.fft.fftfreq(size, 1 / size)
    return k[:, None], k[None, :]


def _fourier(x: Float[Array, 'n h w c']) -> Complex[Array, 'n h w c']:
    return jnp.fft.fft2(x, axes=(1, 2), norm='ortho')


def _real(coefficients: Complex[Array, 'n h w c']) -> Float[Array, 'n h w c']:
    return jnp.fft.ifft2(coefficients, axes=(1, 2), norm='ortho').real
