"""The solver in the angle, on equations with closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax import ode


def test_the_worst_array_decides_the_steps(x64):
    """One array decays, the other one does not move: its error of 0 says nothing of the first."""

    def field(y, th):
        return {'decays': -20 * y['decays'], 'rests': 0 * y['rests']}

    y = {'decays': jnp.array([[1.0], [2.0]]), 'rests': jnp.ones((2, 3))}
    out, steps = jax.jit(lambda y: ode.solve(field, y, jnp.array(0.1), jnp.array(0.6), 1e-6, 1e-9))(y)
    np.testing.assert_allclose(out['decays'], y['decays'] * np.exp(-10.0), rtol=1e-4)
    np.testing.assert_array_equal(out['rests'], y['rests'])
    assert (steps > 10).all()
