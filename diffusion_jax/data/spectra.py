"""Invertible pictures of sound: a signal `[n, L]` and an array `[n, frames, bins, channels]` that says the same.

The short-time Fourier transform here is a tight frame on a circle: hops of half a window w_n = sin(pi (n + 1/2) / W),
of which w_n^2 + w_{n + W/2}^2 = 1. Its adjoint is its inverse, and the squares of its coefficients sum to those of the
signal. Of an array that no signal has, which a model may draw, the inverse is the signal with the nearest coefficients.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from diffusion_jax.ranges import whole, within


class Spectrum(NamedTuple):
    """A transform of signals of L samples, and its inverse."""

    length: int  # L
    shape: tuple[int, int, int]  # frames, bins, channels
    forward: Callable[[np.ndarray], np.ndarray]  # y [n, L] -> x [n, *shape], float32
    inverse: Callable[[np.ndarray], np.ndarray]  # x [n, *shape] -> y [n, L], float32


def stft(
    window: int = 256, power: float = 0.5, scale: float = 1.0, fold_frames: int = 1, fold_bins: int = 1
) -> Callable[[int], Spectrum]:
    """Real and imaginary parts of compressed short-time Fourier coefficients: `scale |c|^power e^(i arg c)`.

    Of `window / 2 + 1` frequencies the first and the last, which are real, share a bin as its real and imaginary parts.
    Powers below 1 lift what is quiet (arXiv 2208.05830, eq. 11, has 1/2).

    Args:
        window: W, even, in [2, inf).
        power: in (0, 1].
        scale: in (0, inf).
        fold_frames: so many neighbours in time, and
        fold_bins: in frequency become channels; each in [1, inf), a divisor of what it divides.

    Returns:
        From the number of samples L, a multiple of `window / 2`, to a `Spectrum` of
        `[2 L / (W fold_frames), W / (2 fold_bins), 2 fold_frames fold_bins]`.

    Raises:
        ValueError: for arguments outside of these.
    """
    whole('[2, inf)', window=window)
    whole('[1, inf)', fold_frames=fold_frames, fold_bins=fold_bins)
    within('(0, 1]', power=power)
    within('(0, inf)', scale=scale)
    if window % 2 or window // 2 % fold_bins:
        raise ValueError(f'window={window} must be even, and fold_bins={fold_bins} divide its half')

    def of(length: int) -> Spectrum:
        if length < window or length % (window // 2 * fold_frames):
            raise ValueError(
                f'{length} samples are no whole number of hops of {window // 2}, {fold_frames} at a time: '
                f'take a multiple of {window // 2 * fold_frames}'
            )

        def forward(y: Float[np.ndarray, 'n l']) -> Float[np.ndarray, 'n f k c']:
            return _fold(_channels(_compress(analyse(y, window), power, scale)), fold_frames, fold_bins)

        def inverse(x: Float[np.ndarray, 'n f k c']) -> Float[np.ndarray, 'n l']:
            c = _complex(_unfold(np.asarray(x), fold_frames, fold_bins))
            return synthesise(_compress(c / scale, 1 / power, 1.0), window).astype(np.float32)

        frames, bins = 2 * length // window // fold_frames, window // 2 // fold_bins
        return Spectrum(length, (frames, bins, 2 * fold_frames * fold_bins), forward, inverse)

    return of


def analyse(y: Float[np.ndarray, 'n l'], window: int) -> Complex[np.ndarray, 'n f k']:
    """Coefficients of frames at 0, W/2, W, ..., the last of which goes on at the beginning: sum |c|^2 = sum y^2."""
    hop = window // 2
    halves = np.asarray(y, np.float64).reshape(len(y), -1, hop)
    frames = np.concatenate([halves, np.roll(halves, -1, axis=1)], axis=2) * _sine(window)
    c = np.fft.rfft(frames, norm='ortho')
    packed = np.sqrt(2) * c[..., :-1]
    packed[..., 0] = c[..., 0].real + 1j * c[..., -1].real
    return packed


def synthesise(c: Complex[np.ndarray, 'n f k'], window: int) -> Float[np.ndarray, 'n l']:
    """The adjoint of `analyse`, and so its inverse."""
    hop = window // 2
    full = np.concatenate([c / np.sqrt(2), np.imag(c[..., :1])], axis=2)
    full[..., 0] = np.real(c[..., 0])
    frames = np.fft.irfft(full, window, norm='ortho') * _sine(window)
    return (frames[..., :hop] + np.roll(frames[..., hop:], 1, axis=1)).reshape(len(c), -1)


def _sine(window):
    return np.sin(np.pi * (np.arange(window) + 0.5) / window)


def _compress(c, power, scale):
    size = np.abs(c)
    return scale * c * np.where(size > 0, size, 1) ** (power - 1)


def _channels(c):
    return np.stack([c.real, c.imag], axis=-1).astype(np.float32)


def _complex(x):
    return x[..., 0].astype(np.float64) + 1j * x[..., 1]


def _fold(x, a, b):
    n, f, k, c = x.shape
    return x.reshape(n, f // a, a, k // b, b, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, f // a, k // b, a * b * c)


def _unfold(x, a, b):
    n, f, k, c = x.shape
    return x.reshape(n, f, k, a, b, c // (a * b)).transpose(0, 1, 3, 2, 4, 5).reshape(n, f * a, k * b, c // (a * b))
