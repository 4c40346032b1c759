r"""How far projection is from p(x | y) where that is known: of two values with correlation 0.8 one is given as 1.5.

    python -m experiments.editing.gaussian --num=100000 --steps=100

prints mean and variance of the other, which should be 1.2 and 0.36, over how often every step is run.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from diffusion_jax import cli, editing, samplers, schedules, times

_NUM = flags.DEFINE_integer('num', 100_000, 'Samples.', lower_bound=2)
_STEPS = flags.DEFINE_integer('steps', 100, 'Steps of the grid.', lower_bound=1)

_REPEATS = (1, 2, 5, 10)
_COVARIANCE = np.array([[1.0, 0.8], [0.8, 1.0]])
_KNOWN = editing.inpaint(jnp.array([True, False]))
_SAMPLERS = {
    'ancestral, LinearVP': (samplers.ancestral, schedules.LinearVP(), times.uniform),
    'DDIM, LinearVP': (samplers.ddim, schedules.LinearVP(), times.uniform),
    'Heun, Karras': (samplers.heun, schedules.VE(), times.karras),
}


def main() -> None:
    """The entry point."""
    y = jnp.tile(jnp.array([1.5, 0.0]), (_NUM.value, 1))
    print(f'| | {" | ".join(f"x {r}" for r in _REPEATS)} |\n|---|{"---|" * len(_REPEATS)}')
    for name, (make, schedule, grid) in _SAMPLERS.items():
        sampler = make(editing.project(_denoiser(schedule), _KNOWN, y), schedule)
        sampler = editing.time_travel(sampler, schedule)
        cells = []
        for repeats in _REPEATS:
            travels = editing.travels(grid(_STEPS.value), 1, repeats)
            x = np.asarray(editing.restore(sampler, schedule, _KNOWN, jax.random.key(0), y, travels))
            cells.append(f'{x[:, 1].mean():.3f}, {x[:, 1].var():.3f}')
        print(f'| {name} | {" | ".join(cells)} |', flush=True)


def _denoiser(schedule):
    """E[x_0 | x_t] of N(0, C)."""

    def denoise(x, t):
        a, s = schedule.alpha(t)[0], schedule.sigma(t)[0]
        return x @ (a * _COVARIANCE @ jnp.linalg.inv(a**2 * _COVARIANCE + s**2 * jnp.eye(2))).T

    return denoise


if __name__ == '__main__':
    cli.run(main)
