"""The solvers of diffusers and k-diffusion (PyTorch), on all grids that they offer, with the exact denoiser.

Both optional: `pip install diffusers torch k-diffusion torchdiffeq torchsde`. Of k-diffusion only its sampling module
is imported: the package itself also wants CLIP and Inception, and its helpers torchvision for images.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import diffusers  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from diffusion_jax import schedules
from diffusion_jax.data import mixture
from diffusion_jax.times import noise_levels
from diffusion_jax.types import Array
from experiments.solvers.problems import Problem

Run = Callable[[Array], tuple[np.ndarray, int]]  # x_T -> end points and the number of evaluations
Model = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_K_SOLVERS = ('sample_euler', 'sample_heun', 'sample_dpm_2', 'sample_lms', 'sample_dpmpp_2m')
_SPACINGS = [{'timestep_spacing': spacing} for spacing in ('linspace', 'leading', 'trailing')]
_SIGMAS = [{'use_karras_sigmas': True}, {'use_exponential_sigmas': True}]
_TABLE: dict[str, Any] = {'beta_start': 1e-4, 'beta_end': 0.02}


def runs(problem: Problem, n: int) -> Iterator[tuple[str, Run]]:
    """Every solver and grid with n steps, or as many as cost n evaluations."""
    counted = _Counted(problem)
    yield from _k_diffusion(problem, counted, n)
    yield from _diffusers_edm(problem, counted, n) if problem.t_max > 1 else _diffusers_table(problem, counted, n)


class _Counted:
    """The exact denoiser of x / alpha at levels sigma / alpha, for PyTorch; counts its calls."""

    def __init__(self, problem: Problem):
        self.calls = 0
        self.denoise = jax.jit(mixture.denoiser(problem.mixture, schedules.VE()))
        self.most = float(noise_levels.of(problem.schedule, np.array(problem.t_max)))

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        t = jnp.broadcast_to(jnp.asarray(sigma.numpy(), jnp.float64), x.shape[:1])
        return torch.tensor(np.asarray(self.denoise(jnp.asarray(x.numpy()), t)))


def _counting(model: _Counted, solve: Callable[[torch.Tensor], torch.Tensor], scale: float) -> Run:
    def run(x):
        model.calls = 0
        end = solve(torch.tensor(np.asarray(x)) * scale)
        return end.numpy(), model.calls

    return run


def _k_diffusion(problem, model, n):
    sampling = _sampling()
    alpha = float(problem.schedule.alpha(jnp.asarray(problem.t_max)))
    grids = {}
    for steps in {n, (n + 1) // 2}:
        for least in (0.002, 0.01, 0.03):
            for rho in (3.0, 7.0):
                sigmas = sampling.get_sigmas_karras(steps, least, model.most, rho)
                grids[f'karras rho={rho} sigma_min={least}', steps] = sigmas.double()
            sigmas = sampling.get_sigmas_exponential(steps, least, model.most)
            grids[f'exponential sigma_min={least}', steps] = sigmas.double()
    for solver in _K_SOLVERS:
        twice = solver in ('sample_heun', 'sample_dpm_2')
        for (name, steps), sigmas in grids.items():
            if steps == ((n + 1) // 2 if twice else n):
                solve = functools.partial(_k_solve, getattr(sampling, solver), model, sigmas)
                yield f'k-diffusion {solver[7:]} {name}', _counting(model, solve, 1 / alpha)


def _k_solve(sample, model, sigmas, x):
    return sample(model, x, sigmas, disable=True)


def _diffusers_edm(problem, model, n):
    del problem
    for order in (2, 3):
        for sigma_schedule in ('karras', 'exponential'):
            for least in (0.002, 0.01, 0.03):
                scheduler = diffusers.EDMDPMSolverMultistepScheduler(
                    sigma_min=least, sigma_max=80.0, sigma_schedule=sigma_schedule, solver_order=order, sigma_data=1.0
                )
                name = f'diffusers EDMDPMSolverMultistep {order} {sigma_schedule} sigma_min={least}'
                yield name, _counting(model, _edm_loop(scheduler, model, n), 1.0)


def _edm_loop(scheduler, model, n):
    def solve(x):
        scheduler.set_timesteps(n)
        scheduler.sigmas = scheduler.sigmas.double()
        for i, t in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(x, t)  # counts steps
            sigma = scheduler.sigmas[i]
            # D = c_skip x + c_out F, solved for the network's output F
            out = (model(x, sigma) - x / (sigma**2 + 1)) / (sigma / (sigma**2 + 1) ** 0.5)
            x = scheduler.step(out, t, x).prev_sample
        return x

    return solve


def _diffusers_table(problem, model, n):
    del problem
    kinds = [
        (diffusers.DPMSolverMultistepScheduler, 'dpmsolver++', [2, 3], {'final_sigmas_type': 'zero'}),
        (diffusers.UniPCMultistepScheduler, 'bh2', [2, 3], {'final_sigmas_type': 'zero'}),
        (diffusers.DEISMultistepScheduler, 'deis', [2, 3], {}),
    ]
    for make, _, orders, fixed in kinds:
        for order in orders:
            for grid in (*_SPACINGS, *_SIGMAS):
                scheduler = make(solver_order=order, **fixed, **grid, **_TABLE)
                said = (key if value is True else str(value) for key, value in grid.items())
                of_grid = ' '.join(what.removeprefix('use_').removesuffix('_sigmas') for what in said)
                name = f'diffusers {make.__name__.removesuffix("Scheduler")} {order} {of_grid}'
                yield name, _counting(model, _table_loop(scheduler, model, n), 1.0)
    for grid in _SPACINGS if n > 4 else ():
        scheduler = diffusers.PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=True, **grid, **_TABLE)
        yield f'diffusers PNDM {grid["timestep_spacing"]}', _counting(model, _pndm_loop(scheduler, model, n), 1.0)


def _table_loop(scheduler, model, n):
    def solve(x):
        scheduler.set_timesteps(n)
        for i, t in enumerate(scheduler.timesteps):
            sigma = scheduler.sigmas[i].double()
            x_ve = x * (1 + sigma**2) ** 0.5
            x = scheduler.step((x_ve - model(x_ve, sigma)) / sigma, t, x).prev_sample
        return x

    return solve


def _pndm_loop(scheduler, model, n):
    def solve(x):
        scheduler.set_timesteps(n - 1)  # one of its times is evaluated twice
        for t in scheduler.timesteps:
            abar = scheduler.alphas_cumprod[t].double()
            sigma = ((1 - abar) / abar) ** 0.5
            x_ve = x / abar**0.5
            x = scheduler.step((x_ve - model(x_ve, sigma)) / sigma, t, x).prev_sample
        return x

    return solve


def _sampling() -> ModuleType:
    spec = importlib.util.find_spec('k_diffusion')
    if spec is None:
        raise ModuleNotFoundError('pip install --no-deps k-diffusion torchdiffeq torchsde trampoline')
    if 'k_diffusion.sampling' not in sys.modules:
        package = ModuleType('k_diffusion')
        package.__path__ = list(spec.submodule_search_locations or [])
        images = ('torchvision', 'torchvision.transforms', 'torchvision.transforms.functional')
        with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in images}):
            sys.modules['k_diffusion'] = package
            module = importlib.import_module('k_diffusion.sampling')
        sys.modules['k_diffusion.sampling'] = module
    return sys.modules['k_diffusion.sampling']
