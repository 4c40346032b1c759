"""The adaptive solver against the exact probability-flow ODE map, both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, times
from tests.oracles import MIXTURE
from tests.samplers.test_ancestral import PATHS, bind, scales
from tests.samplers.test_edm import KEY, run, start


@pytest.mark.parametrize('name', [pytest.param(n, marks=pytest.mark.slow) for n in ('TrigFlow', 'table linear', 'VE')])
def test_a_whole_run_is_the_exact_map(name, x64):
    """In one step from t_max to clean data, and in two."""
    schedule, t_max = PATHS[name]
    x, grid = start(schedule, t_max), times.at([t_max, 0.4 * t_max])
    sampler = samplers.adaptive(bind(MIXTURE, schedule), schedule, 1e-7, 1e-7, sigma_min=1e-4)
    exact = MIXTURE.pf_ode(np.asarray(x), *scales(schedule, grid[[0, -1]]))
    path = jax.jit(lambda x: samplers.trajectory(sampler, KEY, x, grid))(x)
    np.testing.assert_allclose(path[-1], exact, atol=1e-6)
    middle = MIXTURE.pf_ode(np.asarray(x), *scales(schedule, grid[:2]))
    np.testing.assert_allclose(path[1], middle, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_it_encodes_and_decodes_in_float32():
    schedule, t_max = PATHS['RectifiedFlow']
    sampler = samplers.adaptive(bind(MIXTURE, schedule), schedule)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(5, 2)), jnp.float32)
    grid = times.at(t_max)
    encoded = run(sampler, x, grid[::-1])
    start, end = scales(schedule, jnp.array([1e-6, 1.0]))
    np.testing.assert_allclose(encoded, MIXTURE.pf_ode(np.asarray(x, np.float64), start, end), atol=1e-3)
    np.testing.assert_allclose(run(sampler, encoded, grid), x, atol=1e-3)
