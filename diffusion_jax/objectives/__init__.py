"""Training objectives: factories of pure loss functions."""

from diffusion_jax.objectives.align_your_flow import align_your_flow
from diffusion_jax.objectives.alpha_flow import alpha_flow
from diffusion_jax.objectives.consistency import batch_step as batch_step
from diffusion_jax.objectives.consistency import consistency
from diffusion_jax.objectives.consistency import teacher_step as teacher_step
from diffusion_jax.objectives.consistency_trajectory import consistency_trajectory
from diffusion_jax.objectives.continuous import continuous, continuous_distillation
from diffusion_jax.objectives.data_free import data_free
from diffusion_jax.objectives.denoising import denoising
from diffusion_jax.objectives.distribution_matching import distribution_matching
from diffusion_jax.objectives.flow_map import flow_map
from diffusion_jax.objectives.imm import imm
from diffusion_jax.objectives.improved_mean_flow import improved_mean_flow
from diffusion_jax.objectives.latent_consistency import latent_consistency
from diffusion_jax.objectives.masked import masked
from diffusion_jax.objectives.mean_flow import mean_flow, mean_flow_distillation
from diffusion_jax.objectives.multistep_consistency import multistep_consistency
from diffusion_jax.objectives.noisy_classification import noisy_classification
from diffusion_jax.objectives.progressive import progressive
from diffusion_jax.objectives.shortcut import shortcut
from diffusion_jax.objectives.terminal_velocity import terminal_velocity
from diffusion_jax.objectives.trains import trains as trains
from diffusion_jax.objectives.truncated_consistency import truncated_consistency
from diffusion_jax.objectives.vlb import hybrid, vlb, vlb_learned

__all__ = [
    'align_your_flow',
    'alpha_flow',
    'consistency',
    'consistency_trajectory',
    'continuous',
    'continuous_distillation',
    'data_free',
    'denoising',
    'distribution_matching',
    'flow_map',
    'hybrid',
    'imm',
    'improved_mean_flow',
    'latent_consistency',
    'masked',
    'mean_flow',
    'mean_flow_distillation',
    'multistep_consistency',
    'noisy_classification',
    'progressive',
    'shortcut',
    'terminal_velocity',
    'truncated_consistency',
    'vlb',
    'vlb_learned',
]
