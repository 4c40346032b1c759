"""Edits in DDIM's latents, on Gaussian data: the maps are affine."""

import jax.numpy as jnp
import numpy as np

from diffusion_jax import editing, schedules, times
from tests.oracles import Gaussian
from tests.samplers.test_ancestral import bind

FLOW = schedules.RectifiedFlow()
SOURCE, TARGET = Gaussian(np.float64(0.3), np.float64(0.25)), Gaussian(np.float64(-1.0), np.float64(0.04))
X, Y = np.array([[0.1, 0.9], [1.3, -0.2]]), np.array([[0.6, 0.2], [0.0, 1.0]])
GRID = times.uniform(500)


def test_transfer_is_the_map_from_quantile_to_quantile(x64):
    got = editing.transfer(bind(SOURCE, FLOW), bind(TARGET, FLOW), FLOW, jnp.asarray(X), GRID)
    want = TARGET.mean + np.sqrt(TARGET.var / SOURCE.var) * (X - SOURCE.mean)
    np.testing.assert_allclose(got, want, atol=5e-3)


def test_interpolation_is_slerp_of_the_exact_latents(x64):
    denoise = bind(SOURCE, FLOW)
    x_T, y_T = ((v - SOURCE.mean) / np.sqrt(SOURCE.var) for v in (X, Y))  # the ODE's map at alpha = 0
    angle = np.arccos((x_T * y_T).sum(1) / np.linalg.norm(x_T, axis=1) / np.linalg.norm(y_T, axis=1))
    for w in (np.array([0.0, 1.0]), np.array([0.25, 0.6])):
        a, b = (np.sin(u * angle) / np.sin(angle) for u in (1 - w, w))
        want = SOURCE.mean + np.sqrt(SOURCE.var) * (a[:, None] * x_T + b[:, None] * y_T)
        got = editing.interpolate(denoise, FLOW, jnp.asarray(X), jnp.asarray(Y), jnp.asarray(w), GRID)
        np.testing.assert_allclose(got, want, atol=1e-2)
