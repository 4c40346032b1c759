"""Levenberg-Marquardt from several starts on functions whose minima are known."""

import jax.numpy as jnp
import numpy as np

from diffusion_jax.search.least_squares import descended, iterations


def rosenbrock(z):
    """Its only zero is at (1, 1), along a bent valley."""
    return jnp.stack([10 * (z[1] - z[0] ** 2), 1 - z[0]])


def square(residuals):
    return lambda z: float(jnp.sum(residuals(jnp.asarray(z)) ** 2))


def follow(residuals, starts, max_steps, tolerance=1e-10):
    told = []
    starts = [jnp.array(z, float) for z in starts]
    return descended(residuals, square(residuals), starts, max_steps, tolerance, told.append), told


def test_a_bent_valley_is_followed_to_its_end(x64):
    (z,), told = follow(rosenbrock, [[-1.2, 1.0]], 100)
    np.testing.assert_allclose(z, [1, 1], rtol=1e-6)
    assert len(told) < 100
    assert told[-1] == iterations(1, 100) == 100


def test_the_best_start_gets_the_most_iterations(x64):
    """After a third of nine iterations the second of three is ahead, and it alone goes on."""
    starts = [[-1.2, 1.0], [0.8, 0.6], [-2.0, 4.2]]
    after_three = [follow(rosenbrock, [z], 3)[0][0] for z in starts]
    after_nine = follow(rosenbrock, [starts[1]], 9)[0][0]
    best = np.argmin([square(rosenbrock)(z) for z in after_three])
    assert best == 1
    reached, told = follow(rosenbrock, starts, 9)
    np.testing.assert_allclose(reached, [after_three[0], after_nine, after_three[2]], rtol=1e-12)
    assert told == [*range(1, 16), 15]
    assert iterations(3, 9) == 15


def test_a_start_that_is_not_finite_is_not_followed(x64):
    reached, _ = follow(jnp.log, [[-1.0], [3.0]], 30)
    np.testing.assert_allclose(reached[1], [1.0], atol=1e-6)
