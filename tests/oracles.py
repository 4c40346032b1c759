"""Closed forms in float64 NumPy, which share no line with the package: the tests compare the package with these.

Everything speaks in scales (a, s) of x_t = a x_0 + s eps rather than in times: no schedule of the package is used.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import logsumexp
from scipy.stats import norm


class Affine(NamedTuple):
    """A map x -> slope x + intercept, with independent noise of this standard deviation on top."""

    slope: np.ndarray
    intercept: np.ndarray
    std: np.ndarray


class Gaussian(NamedTuple):
    """Data N(mean, diag(var))."""

    mean: np.ndarray
    var: np.ndarray

    def marginal(self, a, s):
        """Mean and variance of x_t."""
        return a * self.mean, a**2 * self.var + s**2

    def denoise(self, x, a, s):
        """E[x_0 | x_t = x]."""
        return self.mean + a * self.var / (a**2 * self.var + s**2) * (x - a * self.mean)

    def pf_ode(self, x, start, end):
        """The probability-flow ODE carries quantile to quantile."""
        (m_t, v_t), (m_s, v_s) = self.marginal(*start), self.marginal(*end)
        return m_s + np.sqrt(v_s / v_t) * (x - m_t)

    def posterior_variance(self, a, s):
        """Var[x_0 | x_t], by adding precisions."""
        return 1 / (1 / self.var + (a / s) ** 2)


class Mixture(NamedTuple):
    """Data from sum_k weights_k N(means_k, vars_k I)."""

    weights: np.ndarray  # [K]
    means: np.ndarray  # [K, D]
    vars: np.ndarray  # [K]

    def denoise(self, x, a, s):
        """E[x_0 | x_t = x] for x [..., D]."""
        var = a**2 * self.vars + s**2
        residual = x[..., None, :] - a * self.means
        log_r = np.log(self.weights) - (residual**2).sum(-1) / (2 * var) - x.shape[-1] / 2 * np.log(var)
        r = np.exp(log_r - logsumexp(log_r, -1, keepdims=True))
        return (r[..., None] * (self.means + (a * self.vars / var)[:, None] * residual)).sum(-2)

    def log_p(self, x, a=1.0, s=0.0):
        """Log-density of x_t at x [..., D]."""
        var = a**2 * self.vars + s**2
        squares = ((x[..., None, :] - a * self.means) ** 2).sum(-1)
        return logsumexp(np.log(self.weights) - (squares / var + x.shape[-1] * np.log(2 * np.pi * var)) / 2, -1)

    def cdf(self, x):
        """P(x_0 < x) for one-dimensional data, x of any shape."""
        return norm.cdf((x[..., None] - self.means[:, 0]) / np.sqrt(self.vars)) @ self.weights

    def pf_ode(self, x, start, end):
        """The ODE map between two (a, s), by a tight integrator in the angle between signal and noise.

        The direction z = x / sqrt(a^2 + s^2) = cos(th) x_0 + sin(th) eps moves by dz/dth = -sin(th) x_0 + cos(th) eps,
        which is regular at a = 0. At s = 0 the last 1e-6 of the angle is D itself, exact to the angle's square.
        """
        th_0, th_1 = np.arctan2(start[1], start[0]), np.arctan2(end[1], end[0])

        def field(th, z):
            z = z.reshape(x.shape)
            c, d = np.cos(th), np.sin(th)
            x_0 = self.denoise(z, c, d)
            return (-d * x_0 + c * (z - c * x_0) / d).ravel()

        stop = max(th_1, 1e-6)
        out = solve_ivp(
            field, (max(th_0, 1e-6), stop), (x / np.hypot(*start)).ravel(), method='DOP853', rtol=1e-10, atol=1e-12
        )
        z = out.y[:, -1].reshape(x.shape)
        return np.hypot(*end) * (self.denoise(z, np.cos(stop), np.sin(stop)) if th_1 < 1e-6 else z)


GAUSSIAN = Gaussian(np.float64(0.3), np.float64(0.25))
MIXTURE = Mixture(
    np.array([0.3, 0.5, 0.2]), np.array([[-1.0, 0.5], [0.8, -0.3], [0.2, 1.2]]), np.array([0.05, 0.1, 0.2])
)


def product_of_gaussians(m_1, v_1, m_2, v_2):
    """Mean and variance of the normalised product N(m_1, v_1) N(m_2, v_2)."""
    var = 1 / (1 / v_1 + 1 / v_2)
    return var * (m_1 / v_1 + m_2 / v_2), var


def bayes_posterior(x_t, x_0, start, end):
    """q(x_s | x_t, x_0) from its definition: N(x_s; a_s x_0, s_s^2) times the likelihood of x_t given x_s."""
    (a_t, s_t), (a_s, s_s) = start, end
    ratio = a_t / a_s
    noise = s_t**2 - ratio**2 * s_s**2
    return product_of_gaussians(a_s * x_0, s_s**2, x_t / ratio, noise / ratio**2)


def ddim_step(data: Gaussian, start, end, eta) -> Affine:
    """DDIM's step with the exact denoiser (arXiv 2010.02502, eq. 12); eta is 'hat' for the sigma-hat row."""
    (a_t, s_t), (a_s, s_s) = start, end
    added = s_t**2 - (a_t / a_s) ** 2 * s_s**2
    std = (1.0 if eta == 'hat' else eta) * np.sqrt(added) * s_s / s_t
    direction = np.sqrt(max(s_s**2 - std**2, 0))
    gain = a_t * data.var / (a_t**2 * data.var + s_t**2)
    x_0 = np.array([gain, data.mean * (1 - gain * a_t)])
    eps = (np.array([1.0, 0.0]) - a_t * x_0) / s_t
    slope, intercept = a_s * x_0 + direction * eps
    return Affine(slope, intercept, np.sqrt(added) * (s_s > 0) if eta == 'hat' else std)


def moments(steps: list[Affine], mean, var):
    """Mean and variance after each step: `[S]`, `[S]`."""
    out = []
    for slope, intercept, std in steps:
        mean, var = slope * mean + intercept, slope**2 * var + std**2
        out.append((mean, var))
    return np.array(out).T


def ddim_moments(data: Gaussian, scales, eta, mean, var):
    """The moment recursion of a whole DDIM run on a list of (a, s): where a finite step count leads, bias included."""
    return moments([ddim_step(data, t, s, eta) for t, s in pairwise(scales)], mean, var)


def table(betas):
    """(a, s) at k = 0 .. T by plain products of a DDPM table: 1 - abar_k = sum_j beta_j prod_{i<j} (1 - beta_i)."""
    before = np.concatenate([[1.0], np.cumprod(1 - betas)])
    return np.sqrt(before), np.sqrt(np.concatenate([[0.0], np.cumsum(betas * before[:-1])]))


def order(n, errors):
    """The slope of log error against log step size."""
    return -np.polyfit(np.log(n), np.log(errors), 1)[0]
