"""Training objectives: factories of pure loss functions."""

from diffusion_jax.objectives.consistency import consistency
from diffusion_jax.objectives.consistency import teacher_step as teacher_step
from diffusion_jax.objectives.consistency_trajectory import consistency_trajectory
from diffusion_jax.objectives.continuous import continuous, continuous_distillation
from diffusion_jax.objectives.denoising import denoising
from diffusion_jax.objectives.imm import imm
from diffusion_jax.objectives.mean_flow import mean_flow, mean_flow_distillation
from diffusion_jax.objectives.mean_flow import teacher_velocity as teacher_velocity
from diffusion_jax.objectives.multistep_consistency import multistep_consistency
from diffusion_jax.objectives.progressive import progressive
from diffusion_jax.objectives.shortcut import shortcut
from diffusion_jax.objectives.trains import trains as trains
from diffusion_jax.objectives.vlb import hybrid, vlb, vlb_learned

__all__ = [
    'consistency',
    'consistency_trajectory',
    'continuous',
    'continuous_distillation',
    'denoising',
    'hybrid',
    'imm',
    'mean_flow',
    'mean_flow_distillation',
    'multistep_consistency',
    'progressive',
    'shortcut',
    'vlb',
    'vlb_learned',
]
