"""Training objectives: factories of pure loss functions."""

from diffusion_jax.objectives.denoising import denoising
from diffusion_jax.objectives.vlb import hybrid, vlb, vlb_learned

__all__ = ['denoising', 'hybrid', 'vlb', 'vlb_learned']
