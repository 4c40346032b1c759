"""SDE-DPM-Solver++(2M), driven by one Brownian path per sample whatever the number of steps."""

from collections.abc import Callable
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import expand_time
from diffusion_jax.samplers.adams_bashforth import WithHistory
from diffusion_jax.samplers.exponential import half_log_snr, newton, no_points, push
from diffusion_jax.schedules import posterior_mean
from diffusion_jax.types import Denoiser, Key, Sampler, Schedule

_TOLERANCE = 2**-20


def sde_dpm_solver_pp(denoise: Denoiser, schedule: Schedule, brownian: Key) -> Sampler:
    """SDE-DPM-Solver++(2M) (arXiv 2211.01095): DDPM's posterior with x_0 extrapolated to the middle of the step.

    Runs with the same key `brownian` and more and more steps converge to one sample each, and in distribution with
    order 2. The key of a step is not used.

    Args:
        denoise: the model.
        schedule: its schedule.
        brownian: one key `[]`, or one per sample `[B]`: then a sample does not depend on the batch it is drawn in.
    """
    return driven_by(partial(path_noise, brownian, schedule), denoise, schedule)


def driven_by(noise: Callable[[Array, Array, Array], Array], denoise: Denoiser, schedule: Schedule) -> Sampler:
    """The same with the noise of every step from `noise(x, t, s)`."""

    def step(key, state, t, s):
        del key
        x, past = state.x, state.past
        x_0 = denoise(x, expand_time(t, x))
        p = newton(schedule, x_0, past, t, s)
        mean = posterior_mean(schedule, x, p.f[0] + p.f[1] / 2, t, s)
        return WithHistory(mean + noise(x, t, s), push(past, x_0, half_log_snr(schedule, t)))

    return Sampler(lambda x: WithHistory(x, no_points(x, 1)), step, order=2, least_steps=2)


def path_noise(
    brownian: Key, schedule: Schedule, x: Float[Array, 'b ...'], t: Float[Array, ''], s: Float[Array, '']
) -> Float[Array, 'b ...']:
    """What the reverse SDE adds from t to s, standard deviation included: DDPM's sqrt(posterior_variance) z.

    Its noise is a Brownian motion W in the clock c = alpha^2 / sigma^2, scaled: sigma_s^2 / alpha_s (W(c_s) - W(c_t)).
    That clock never ends, so W(c) = (1 + c) bridge(u) is read off a Brownian bridge in u = c / (1 + c), from 0 for
    noise to 1 for clean data.
    """
    import diffrax  # half a second to import

    keys = brownian if brownian.ndim else jax.random.split(brownian, len(x))
    shape = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    a_2, s_2 = (jnp.square(f(jnp.stack([t, s]))) for f in (schedule.alpha, schedule.sigma))
    u = a_2 / (a_2 + s_2)

    @partial(jax.vmap, out_axes=1)
    def bridge(key):
        path = diffrax.VirtualBrownianTree(0.0, 1.0, _TOLERANCE, shape, key)
        at_t, at_s, at_1 = cast(Array, jax.vmap(path.evaluate)(jnp.append(u, 1.0)))
        return jnp.stack([at_t - u[0] * at_1, at_s - u[1] * at_1])

    at_t, at_s = bridge(keys)
    return ((a_2 + s_2)[1] * at_s - s_2[1] / s_2[0] * (a_2 + s_2)[0] * at_t) / schedule.alpha(s)
