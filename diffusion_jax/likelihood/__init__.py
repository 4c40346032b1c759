"""Likelihoods: the bounds of DDPM and of masked diffusion, the ODE's log-density, dequantisation."""

from diffusion_jax.likelihood.dequantise import Dequantiser as Dequantiser
from diffusion_jax.likelihood.dequantise import dequantised as dequantised
from diffusion_jax.likelihood.dequantise import elbo as elbo
from diffusion_jax.likelihood.dequantise import truncated_normal as truncated_normal
from diffusion_jax.likelihood.dequantise import uniform as uniform
from diffusion_jax.likelihood.dequantise import variational as variational
from diffusion_jax.likelihood.fit import along as along
from diffusion_jax.likelihood.fit import fit as fit
from diffusion_jax.likelihood.fit import score_at as score_at
from diffusion_jax.likelihood.masked import MaskedTerms as MaskedTerms
from diffusion_jax.likelihood.masked import masked as masked
from diffusion_jax.likelihood.masked import masked_term as masked_term
from diffusion_jax.likelihood.ode import OdeTerms as OdeTerms
from diffusion_jax.likelihood.ode import exact as exact
from diffusion_jax.likelihood.ode import hutchinson as hutchinson
from diffusion_jax.likelihood.ode import ode as ode
from diffusion_jax.likelihood.vlb import BoundTerms as BoundTerms
from diffusion_jax.likelihood.vlb import bits_per_dim as bits_per_dim
from diffusion_jax.likelihood.vlb import discretized_gaussian_nll as discretized_gaussian_nll
from diffusion_jax.likelihood.vlb import normal_kl as normal_kl
from diffusion_jax.likelihood.vlb import prior_term as prior_term
from diffusion_jax.likelihood.vlb import vlb as vlb
from diffusion_jax.likelihood.vlb import vlb_term as vlb_term
