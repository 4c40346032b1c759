"""Our solvers, on grids by hand and on searched ones."""

import functools
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax import samplers, search
from diffusion_jax.data import mixture
from diffusion_jax.samplers.retime import retimed
from diffusion_jax.times import Grid, karras, log_snr, noise_levels, quadratic, uniform
from diffusion_jax.types import Array, Sampler
from experiments.solvers.problems import Problem

SOLVERS: dict[str, Callable[..., Sampler]] = {
    'ddim': samplers.ddim,
    'heun': samplers.heun,
    'dpm_solver_pp 2': samplers.dpm_solver_pp,
    'dpm_solver_pp 3': functools.partial(samplers.dpm_solver_pp, order=3),
    'unipc 2': samplers.unipc,
    'unipc 3': functools.partial(samplers.unipc, order=3),
    'unipc 2 bh1': functools.partial(samplers.unipc, variant='bh1'),
    'deis 2': functools.partial(samplers.deis, order=2),
    'deis 3': samplers.deis,
    'pndm': samplers.pndm,
    'dpm_solver 2': samplers.dpm_solver,
    'dpm_solver 3': functools.partial(samplers.dpm_solver, order=3),
    'dpm_solver_pp_single 2': samplers.dpm_solver_pp_single,
    'dpm_solver_pp_single 3': functools.partial(samplers.dpm_solver_pp_single, order=3),
}
_COSTS = {'heun': 2, 'dpm_solver 2': 2, 'dpm_solver 3': 3, 'dpm_solver_pp_single 2': 2, 'dpm_solver_pp_single 3': 3}
KEY = jax.random.key(0)  # none of them draws noise


def steps(name: str, evaluations: int) -> int:
    """The most steps for a number of evaluations, 0 if it does not do with so few.

    A step costs one or what `_COSTS` says, the one to clean data always one; PNDM's first three cost four each.
    """
    if name == 'pndm':
        return max(evaluations - 9, 0) if evaluations >= 13 else 0
    return 1 + (evaluations - 1) // _COSTS.get(name, 1)


def grids(problem: Problem, n: int) -> dict[str, Grid]:
    """Grids by hand: Karras' at several rho and least levels, log-SNR, and DDPM's own on its table."""
    most = float(noise_levels.of(problem.schedule, np.array(problem.t_max)))
    table = problem.t_max == 1
    out = {
        f'karras rho={rho} sigma_min={least}': karras(n, least, most, rho, problem.schedule)
        for rho in (3.0, 7.0)
        for least in (0.002, 0.01, 0.03)
    }
    for least in (0.002, 0.01, 0.03):
        t_min = float(noise_levels.times_at(problem.schedule, np.array(least)))
        out[f'log_snr sigma_min={least}'] = log_snr(n, problem.schedule, t_min, problem.t_max)
    if table and n > 1:
        out |= {'uniform': uniform(n), 'quadratic': quadratic(n, t_max=1.0)}
    return {name: np.append(problem.t_max, times[1:]) for name, times in out.items()}


def runner(problem: Problem, name: str) -> Callable[[Array, Grid], Array]:
    """(x, times) -> end points; one compilation for times of every length."""
    sampler = SOLVERS[name](mixture.denoiser(problem.mixture, problem.schedule), problem.schedule)
    step = jax.jit(sampler.step)

    def run(x, times):
        state = sampler.init(x)
        for t, s in pairwise(times):
            state = step(KEY, state, jnp.asarray(t), jnp.asarray(s))
        return state.x

    return run


def searched(problem: Problem, name: str, x: Array, target: np.ndarray, starts: list[Grid]) -> search.Found:
    """The grid, of as many steps as the starts, that the search finds for these noises."""
    sampler = SOLVERS[name](mixture.denoiser(problem.mixture, problem.schedule), problem.schedule)
    return search.fit_grid(
        lambda times: samplers.sample(sampler, KEY, x, times), jnp.asarray(target), problem.schedule, starts
    )


def retimed_runner(problem: Problem, name: str, x: Array) -> Callable[[Array, Array], Array]:
    """(times, model times) -> end points."""
    denoise = mixture.denoiser(problem.mixture, problem.schedule)

    def run(times, model_times):
        sampler = SOLVERS[name](retimed(denoise, problem.schedule, times[:-1], model_times), problem.schedule)
        return samplers.sample(sampler, KEY, x, times)

    return run


def searched_with_model_times(
    problem: Problem, name: str, x: Array, target: np.ndarray, starts: list[Grid]
) -> search.Found:
    """The same with the times that the model is told."""
    return search.fit_retimed_grid(retimed_runner(problem, name, x), jnp.asarray(target), problem.schedule, starts)


def error(x: Array, target: np.ndarray) -> float:
    """Mean over samples of the root mean square distance."""
    return float(jnp.mean(search.per_sample_error(x, jnp.asarray(target))))
