"""Factors of the learning rate, number by number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.optim import learning_rate
from diffusion_jax.times import curricula


def at(factor, steps):
    return np.asarray([jax.jit(factor)(jnp.int32(k)) for k in steps])


def test_constant_and_inverse_sqrt():
    np.testing.assert_array_equal(at(learning_rate.constant(), [0, 7]), [1, 1])
    np.testing.assert_allclose(
        at(learning_rate.inverse_sqrt(100), [0, 99, 100, 400, 2500]), [1, 1, 1, 1 / 2, 1 / 5], rtol=1e-6
    )
    with pytest.raises(ValueError, match='at least 1'):
        learning_rate.inverse_sqrt(0)


def test_linear_ends_with_the_run():
    np.testing.assert_allclose(at(learning_rate.linear(4), range(6)), [1, 3 / 4, 2 / 4, 1 / 4, 0, 0], atol=1e-6)


def test_linear_stages_start_again_when_the_number_of_steps_halves():
    arguments = {'steps': 15, 'n_0': 4, 'n_1': 1}
    factor = at(learning_rate.linear_stages(**arguments), range(16))
    three, six = [1, 2 / 3, 1 / 3], [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    np.testing.assert_allclose(factor, [*three, *six, *six, 0], atol=1e-6)
    N = curricula.halving(**arguments)
    n = np.array([int(N(jnp.int32(k))) for k in range(15)])
    np.testing.assert_array_equal(np.flatnonzero(factor[:15] == 1), [0, *(np.flatnonzero(np.diff(n)) + 1)])
