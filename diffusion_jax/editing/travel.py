"""Time travel: stretches of the grid are run again from fresh noise (arXiv 2201.09865, 2212.00490).

Each time the unknown part is drawn anew beside a known one that both passes share, so the two come to fit.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from diffusion_jax.samplers import noise
from diffusion_jax.schedules import transition
from diffusion_jax.types import Sampler, Schedule


def time_travel(sampler: Sampler, schedule: Schedule) -> Sampler:
    """The sampler, for grids that also go up: there a step s < t is q(x_t | x_s), without a network evaluation."""

    def up(key, state, s, t):
        x_s = state.x
        alpha_ts, var_ts = transition(schedule, t, s)
        return sampler.init(alpha_ts * x_s + jnp.sqrt(var_ts) * noise(key, x_s))

    def step(key, state, t, s):
        return jax.lax.cond(s > t, up, sampler.step, key, state, t, s)

    return sampler._replace(step=step)


def travels(grid: Float[np.ndarray, ' n_plus_1'], length: int = 1, repeats: int = 10) -> Float[np.ndarray, ' m_plus_1']:
    """The grid with every stretch of `length` steps run `repeats` times, in all `repeats` times as many evaluations.

    RePaint's jump length j and number of resamplings r (arXiv 2201.09865). There the first stretch is
    run once; here every one is alike.

    Raises:
        ValueError: for a length or a number below 1.
    """
    if length < 1 or repeats < 1:
        raise ValueError(f'length and repeats must be at least 1; got {length} and {repeats}')
    out = [grid[:1]]
    for i in range(0, len(grid) - 1, length):
        down = grid[i : i + length + 1]
        out += [down[1:], down[-2::-1]] * (repeats - 1) + [down[1:]]
    return np.concatenate(out)
