"""Log-density of a model by the probability-flow ODE and the instantaneous change of variables (arXiv 2011.13456)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffusion_jax.ode import angle, angular_velocity, solve
from diffusion_jax.types import Denoiser, Key, Schedule

# (key, x [B, ...]) -> vectors v [P, B or 1, ...] with E[sum_p v_p v_p^T] = I, so that E[sum_p v_p . J v_p] = trace J
Probes = Callable[[Key, Array], Array]

_PROBES_AT_A_TIME = 16


class OdeTerms(NamedTuple):
    """Of each sample; `log_p = prior + change`, in nats."""

    log_p: Float[Array, ' b']
    prior: Float[Array, ' b']  # log-density of the noise at the end of its path
    change: Float[Array, ' b']  # the integral of the divergence
    steps: Int[Array, ' b']  # of the solver, rejected ones included


class _Path(NamedTuple):
    z: Float[Array, 'b ...']
    change: Float[Array, ' b']  # per dimension: the solver's tolerance holds for it as for z


def exact(key: Key, x: Float[Array, 'b ...']) -> Float[Array, 'p 1 ...']:
    """The unit vectors: the exact trace, at D Jacobian-vector products an evaluation; the key is not used."""
    del key
    event = x.shape[1:]
    return jnp.eye(math.prod(event), dtype=x.dtype).reshape(-1, 1, *event)


def hutchinson(n: int = 1) -> Probes:
    """`n` Rademacher vectors per sample, the same along its path: unbiased (arXiv 2011.13456; arXiv 1810.01367)."""
    if n < 1:
        raise ValueError(f'n must be at least 1; got {n}')
    return lambda key, x: jax.random.rademacher(key, (n, *x.shape), x.dtype) / math.sqrt(n)


def ode(
    denoise: Denoiser,
    schedule: Schedule,
    t_max: float,
    probes: Probes | None = None,
    sigma_min: float = 1e-3,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Callable[[Key, Array], OdeTerms]:
    """Log-density of continuous data, `(key, x [B, ...]) -> OdeTerms` (arXiv 2011.13456, section 4.3 and appendix D.2).

    The ODE is solved in the angle th between signal and noise, for z = x / sqrt(alpha^2 + sigma^2) (see
    `diffusion_jax.ode`): d log p(z) / dth = -div dz/dth, from arctan(sigma_min), where z is the data, to the angle at
    t_max, where it is noise N(0, sin^2 th), the start that `samplers.prior` draws. So it is the log-density of data
    noised to the level sigma_min, as at th = 0 the field is 0 / 0: log p + sigma_min^2 / 2 (Laplacian p + D p +
    x . grad p) / p to first order, which for components of variance v is of the size D sigma_min^2 / v. It is the exact
    log-density of a model whose sampler stops there. A network should have been trained down to sigma_min.

    Args:
        denoise: the model.
        schedule: its schedule.
        t_max: the time of pure noise.
        probes: for the trace of the Jacobian: `exact`, or `hutchinson(n)`; `hutchinson()` by default.
        sigma_min: noise-to-signal ratio sigma / alpha at which the path starts.
        rtol: relative tolerance of the solver, for z and for nats per dimension.
        atol: absolute tolerance.
    """
    probes = probes or hutchinson()

    def log_density(key, x):
        t_end = jnp.asarray(t_max, x.dtype)
        start, end = jnp.arctan(jnp.asarray(sigma_min, x.dtype)), angle(schedule, t_end)
        dz_dth = angular_velocity(denoise, schedule, t_end)
        v = probes(key, x)
        d = math.prod(x.shape[1:])

        def field(path, th):
            dz, push = jax.linearize(lambda z: dz_dth(z, th), path.z)

            def along(v):
                v = jnp.broadcast_to(v, dz.shape)
                return _total(v * push(v))

            return _Path(dz, jnp.sum(jax.lax.map(along, v, batch_size=_PROBES_AT_A_TIME), 0) / d)

        path, steps = solve(field, _Path(x, jnp.zeros_like(x[(..., *(0,) * (x.ndim - 1))])), start, end, rtol, atol)
        prior = _total(jax.scipy.stats.norm.logpdf(path.z, scale=jnp.sin(end)))
        return OdeTerms(prior + d * path.change, prior, d * path.change, steps)

    return log_density


def _total(x):
    """Sum over the event axes."""
    return jnp.sum(x, axis=tuple(range(1, x.ndim)))
