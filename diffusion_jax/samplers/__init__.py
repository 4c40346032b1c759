"""Samplers: steps on one shared loop. `__all__` holds those that draw; encoder, loop and helpers are beside them."""

from diffusion_jax.samplers.adams_bashforth import deis, dpm_solver_pp
from diffusion_jax.samplers.adaptive import adaptive
from diffusion_jax.samplers.ancestral import ancestral, ancestral_learned, ddim
from diffusion_jax.samplers.ancestral import ddim_encode as ddim_encode
from diffusion_jax.samplers.consistency import jump, renoise
from diffusion_jax.samplers.edm import edm_churn, euler, heun
from diffusion_jax.samplers.edm import euler_step as euler_step
from diffusion_jax.samplers.edm import heun_step as heun_step
from diffusion_jax.samplers.loop import fold_in as fold_in
from diffusion_jax.samplers.loop import noise as noise
from diffusion_jax.samplers.loop import prior as prior
from diffusion_jax.samplers.loop import sample as sample
from diffusion_jax.samplers.loop import trajectory as trajectory
from diffusion_jax.samplers.parallel import Parallel as Parallel
from diffusion_jax.samplers.parallel import parallel as parallel
from diffusion_jax.samplers.pndm import pndm
from diffusion_jax.samplers.sde import euler_maruyama, predictor_corrector
from diffusion_jax.samplers.sde_dpm_solver import sde_dpm_solver_pp
from diffusion_jax.samplers.singlestep import dpm_solver, dpm_solver_pp_single
from diffusion_jax.samplers.unipc import unipc
from diffusion_jax.samplers.unmasking import remask, unmask, unmask_confident

__all__ = [
    'adaptive',
    'ancestral',
    'ancestral_learned',
    'ddim',
    'deis',
    'dpm_solver',
    'dpm_solver_pp',
    'dpm_solver_pp_single',
    'edm_churn',
    'euler',
    'euler_maruyama',
    'heun',
    'jump',
    'pndm',
    'predictor_corrector',
    'remask',
    'renoise',
    'sde_dpm_solver_pp',
    'unipc',
    'unmask',
    'unmask_confident',
]
