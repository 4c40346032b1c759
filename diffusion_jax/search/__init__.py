"""Searches for the times to sample at: of consistency models one by one, of solvers all at once."""

from diffusion_jax.search.consistency import greedy_times as greedy_times
from diffusion_jax.search.consistency import ternary_search as ternary_search
from diffusion_jax.search.solver import Found as Found
from diffusion_jax.search.solver import fit_grid as fit_grid
from diffusion_jax.search.solver import fit_retimed_grid as fit_retimed_grid
from diffusion_jax.search.solver import per_sample_error as per_sample_error
