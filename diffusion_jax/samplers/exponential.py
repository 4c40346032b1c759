"""The step that all exponential integrators of the probability-flow ODE share, with its ends.

Between times t and s with lambda = log(alpha / sigma) and h = lambda_s - lambda_t the ODE is solved by

    x_s = sigma_s / sigma_t x_t + alpha_s int_0^h e^-(h - tau) x_0 dtau    (DPM-Solver++, arXiv 2211.01095)
        = alpha_s / alpha_t x_t - sigma_s int_0^h e^(h - tau) eps dtau     (DPM-Solver, arXiv 2206.00927, eq. 3.4)

with x_0 and eps at lambda_t + tau. Solvers differ in which of the two they take for a polynomial in lambda, and in the
points that it goes through. Through the one at t alone both are DDIM's step, which `ddim_step` takes where lambda is
infinite too, at clean data and without signal. What further points add is left out there.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from diffusion_jax.axes import as_times, expand_time
from diffusion_jax.drift import ddim_step, without_signal
from diffusion_jax.schedules import eps_from_x_0
from diffusion_jax.types import Schedule

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class Form(NamedTuple):
    """What is taken for a polynomial: x_0 or eps."""

    output: Callable[..., Array]  # (schedule, x_t, x_0, t [B]) -> its value at t
    gain: Callable[..., Array]  # (schedule, s) -> the factor of its integral
    rate: float  # of the exponential e^(rate (h - tau)) in the integral


DATA = Form(lambda schedule, x, x_0, t: x_0, lambda schedule, s: schedule.alpha(s), -1.0)
NOISE = Form(eps_from_x_0, lambda schedule, s: -schedule.sigma(s), 1.0)


class Points(NamedTuple):
    """Values that a polynomial goes through beside the one at t, the most important first."""

    values: Float[Array, 'k b ...']
    lam: Float[Array, ' k']  # -inf for a point that is not there: without signal, or before the first step


class Newton(NamedTuple):
    """A polynomial in u = tau / h, f_0 + f_1 (u - r_0) + f_2 (u - r_0)(u - r_1) + .., with r_0 = 0."""

    f: list[Float[Array, 'b ...']]
    r: list[Float[Array, '']]
    h: Float[Array, '']
    n: Int[Array, '']  # points in use: f[n:] are 0


def no_points(x: Float[Array, 'b ...'], k: int) -> Points:
    """Room for k points, none of which is there."""
    return Points(jnp.zeros((k, *x.shape), x.dtype), as_times(jnp.full((k,), -jnp.inf), x))


def push(points: Points, value: Float[Array, 'b ...'], lam: Float[Array, '']) -> Points:
    """The same room with a new first point; the last one is dropped."""
    values, lams = jnp.concatenate([value[None], points.values]), jnp.concatenate([lam[None], points.lam])
    return Points(values[:-1], lams[:-1])


def half_log_snr(schedule: Schedule, t: Float[Array, '']) -> Float[Array, '']:
    """DPM-Solver's lambda = log(alpha / sigma); -inf where the signal is lost to rounding."""
    lost = without_signal(schedule, t)
    return jnp.where(lost, -jnp.inf, jnp.log(jnp.where(lost, 1, schedule.alpha(t))) - jnp.log(schedule.sigma(t)))


def is_finite(schedule: Schedule, t: Float[Array, ''], s: Float[Array, '']) -> Bool[Array, '']:
    """Whether the step from t to s is one of finite size in lambda; elsewhere solvers are of first order."""
    return ~without_signal(schedule, t) & (schedule.sigma(s) > 0) & (t != s)


def newton(
    schedule: Schedule, value: Float[Array, 'b ...'], points: Points, t: Float[Array, ''], s: Float[Array, '']
) -> Newton:
    """The polynomial through `value` at t and through those of the points that are there."""
    finite = is_finite(schedule, t, s)
    lam_t = jnp.where(finite, half_log_snr(schedule, t), 0)
    h = jnp.where(finite, half_log_snr(schedule, jnp.where(finite, s, t)) - lam_t, 1)
    there = jnp.isfinite(points.lam) & finite
    # A point that is not there needs a place of its own, u = 2, 3, .., where no other is.
    r = jnp.where(there, (jnp.where(there, points.lam, 0) - lam_t) / h, 2 + jnp.arange(len(there)))
    r = [jnp.zeros_like(h), *r]
    n = 1 + jnp.sum(there)
    f = [jnp.where(n > k, f_k, 0) for k, f_k in enumerate(_divided_differences([value, *points.values], r))]
    return Newton(f, r, h, n)


def exponential_step(
    form: Form,
    schedule: Schedule,
    x: Float[Array, 'b ...'],
    x_0: Float[Array, 'b ...'],
    points: Points,
    t: Float[Array, ''],
    s: Float[Array, ''],
    B: Callable[[Form, Array], Array] | None = None,
) -> Float[Array, 'b ...']:
    """x_s from x_t, where D(x_t, t) is x_0, and further points.

    Args:
        form: `DATA` or `NOISE`; the points hold its values.
        schedule: the schedule.
        x: x_t; needs sigma(t) > 0.
        x_0: the model's at t.
        points: the polynomial goes through these as well.
        t: from.
        s: to.
        B: with two points in all, half of `B(form, h)` stands for the integral of u (`bh1`, `bh2`): most papers do so.
    """
    ts = expand_time(t, x)
    p = newton(schedule, form.output(schedule, x, x_0, ts), points, t, s)
    added = jnp.zeros_like(x)
    for k in range(1, len(p.f)):
        c = integral(form, p.h, p.r[:k])
        if B is not None and k == 1:
            c = jnp.where(p.n == 2, B(form, p.h) / 2, c)
        added += c * p.f[k]
    return ddim_step(schedule, x, x_0, ts, expand_time(s, x)) + form.gain(schedule, s) * added


def integral(form: Form, h: Float[Array, ''], r: list[Float[Array, '']]) -> Float[Array, '']:
    """int_0^h e^(rate (h - tau)) prod_j (tau / h - r_j) dtau, by a quadrature that is exact to rounding for h < 20.

    In closed form these are differences of the phi functions, which cancel for small h.
    """
    u, w = jnp.asarray((1 + _NODES) / 2, h.dtype), jnp.asarray(_WEIGHTS / 2, h.dtype)
    return h * jnp.sum(w * jnp.exp(form.rate * h * (1 - u)) * math.prod(u - r_j for r_j in r))


def bh1(form: Form, h: Float[Array, '']) -> Float[Array, '']:
    """UniPC's B_1(h) = h (arXiv 2302.04867)."""
    del form
    return h


def bh2(form: Form, h: Float[Array, '']) -> Float[Array, '']:
    """UniPC's B_2(h) = e^h - 1 (1 - e^-h for data), the integral of 1: DPM-Solver's, DPM-Solver++'s choice as well."""
    return jnp.expm1(form.rate * h) / form.rate


def _divided_differences(f, r):
    """f[r_0], f[r_0, r_1], f[r_0, r_1, r_2], .."""
    out = [f[0]]
    for k in range(1, len(r)):
        f = [(b - a) / (r[i + k] - r[i]) for i, (a, b) in enumerate(pairwise(f))]
        out.append(f[0])
    return out
