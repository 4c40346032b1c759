import jax.numpy as jnp
import numpy as np

from diffusion_jax.objectives import pair_weights


def test_values():
    t, s = jnp.array([2.0, 0.5]), jnp.array([1.5, 0.0])
    np.testing.assert_allclose(pair_weights.inverse_gap()(t, s), [2, 2])
    np.testing.assert_array_equal(pair_weights.uniform()(t, s), [1, 1])
