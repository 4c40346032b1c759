"""Samplers: steps on one shared loop."""

from diffusion_jax.samplers.ancestral import ancestral, ancestral_learned, ddim, ddim_encode
from diffusion_jax.samplers.loop import fold_in, noise, prior, sample, trajectory

__all__ = ['ancestral', 'ancestral_learned', 'ddim', 'ddim_encode', 'fold_in', 'noise', 'prior', 'sample', 'trajectory']
