"""Fields on a periodic grid against their law: spectrum, structure functions, and ensembles of forecasts."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy import stats


class Spectrum(NamedTuple):
    """Power by shells |k| = 0, 1, .. of whole waves across the grid, `[K, C]`."""

    power: Float[np.ndarray, 'k c']
    error: Float[np.ndarray, 'k c']  # standard error over the samples


def shells(h: int, w: int) -> np.ndarray:
    """The shell of every wave number `[H, W]`, |k| rounded; -1 beyond the resolved range, the least Nyquist number."""
    k = np.hypot(np.fft.fftfreq(h, 1 / h)[:, None], np.fft.fftfreq(w, 1 / w)[None, :])
    shell = np.rint(k).astype(int)
    return np.where(shell <= min(h, w) // 2, shell, -1)


def spectrum(x: Float[np.ndarray, 'n h w c']) -> Spectrum:
    """Of samples: |xhat|^2 (`norm='ortho'`), averaged over each shell and the samples."""
    square = np.abs(np.fft.fft2(np.asarray(x, np.float64), axes=(1, 2), norm='ortho')) ** 2
    of_each = _over_shells(square)  # [N, K, C]
    return Spectrum(of_each.mean(0), of_each.std(0, ddof=1) / np.sqrt(len(x)))


def spectrum_of_law(law: Complex[np.ndarray, 'h w c c']) -> Float[np.ndarray, 'k c']:
    """The exact one of a Gaussian law's S(k)."""
    return _over_shells(_power(law)[None])[0]


def _power(law):
    """Of each channel, `[H, W, C]`."""
    return np.real(np.diagonal(law, axis1=2, axis2=3))


def _over_shells(power):
    shell = shells(*power.shape[1:3])
    return np.stack([power[:, shell == k].mean(1) for k in range(shell.max() + 1)], axis=1)


def structure_function(x: Float[np.ndarray, 'n h w c'], p: float = 2.0) -> Float[np.ndarray, 'd c']:
    """E |x(r + d) - x(r)|^p for d = 1 .. W / 2 cells along the last spatial axis."""
    x = np.asarray(x, np.float64)
    return np.stack([(np.abs(np.roll(x, -d, axis=2) - x) ** p).mean((0, 1, 2)) for d in range(1, x.shape[2] // 2 + 1)])


def structure_function_of_law(law: Complex[np.ndarray, 'h w c c'], p: float = 2.0) -> Float[np.ndarray, 'd c']:
    """The exact one of a Gaussian law: a difference is normal, of twice the variance less the covariance."""
    S = _power(law)
    covariance = np.fft.ifft2(S, axes=(0, 1)).real[0]  # [W, C]; ifft2 is the mean of S cos
    variance = 2 * (covariance[:1] - covariance[1 : S.shape[1] // 2 + 1])
    moment = stats.norm.expect(lambda z: np.abs(z) ** p)
    return moment * variance ** (p / 2)


def crps(ensemble: Float[np.ndarray, 'm ...'], y: Float[np.ndarray, '...']) -> Float[np.ndarray, '...']:
    """Continuous ranked probability score E|X - y| - E|X - X'| / 2 of each value, unbiased in the number of members.

    X and X' are different members (the fair score of Ferro); the less the better, and least in expectation for members
    drawn from the law of y.
    """
    m = len(ensemble)
    rank = (2 * np.arange(1, m + 1) - m - 1).reshape(-1, *(1,) * np.ndim(y))
    apart = 2 * (rank * np.sort(ensemble, axis=0)).sum(0) / (m * (m - 1))
    return np.abs(ensemble - y[None]).mean(0) - apart / 2


def gaussian_crps(std: float) -> float:
    """The expectation of the score where both members and y are drawn from one normal law."""
    return float(std / np.sqrt(np.pi))


def spread_over_error(ensemble: Float[np.ndarray, 'm n ...'], y: Float[np.ndarray, 'n ...']) -> float:
    """Root mean variance of the members over the root mean square error of their mean: 1 for members like y itself.

    A mean of m members has 1 + 1 / m of their variance as its squared error, which is taken into account.
    """
    m = len(ensemble)
    variance = ensemble.var(0, ddof=1).mean()
    return float(np.sqrt((1 + 1 / m) * variance / ((ensemble.mean(0) - y) ** 2).mean()))
