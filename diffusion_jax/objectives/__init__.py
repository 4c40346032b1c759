"""Training objectives: factories of pure loss functions."""

from diffusion_jax.objectives.consistency import consistency
from diffusion_jax.objectives.consistency import teacher_step as teacher_step
from diffusion_jax.objectives.denoising import denoising
from diffusion_jax.objectives.progressive import progressive
from diffusion_jax.objectives.vlb import hybrid, vlb, vlb_learned

__all__ = ['consistency', 'denoising', 'hybrid', 'progressive', 'vlb', 'vlb_learned']
