import jax.numpy as jnp
import numpy as np

from diffusion_jax import ema

PARAMS = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0], [2.0, 2.0]])
START = np.array([10.0, -10.0])


def run(average):
    value = {'w': jnp.asarray(START)}
    for step, params in enumerate(PARAMS):
        value = average(value, {'w': jnp.asarray(params)}, jnp.asarray(step))
    return value['w']


def test_constant_is_the_geometric_sum():
    d, n = 0.9, len(PARAMS)
    want = d**n * START + (1 - d) * sum(d ** (n - 1 - i) * p for i, p in enumerate(PARAMS))
    np.testing.assert_allclose(run(ema.constant(d)), want, rtol=1e-5)


def test_warm_up_is_the_product_of_its_decays():
    decays = np.minimum(0.25, (1 + np.arange(4)) / (10 + np.arange(4)))  # 1/10, 2/11, 1/4, 1/4
    want = START * decays.prod() + sum(p * (1 - decays[i]) * decays[i + 1 :].prod() for i, p in enumerate(PARAMS))
    np.testing.assert_allclose(run(ema.warm_up(0.25)), want, rtol=1e-5)


def test_none_is_the_current_value():
    np.testing.assert_array_equal(run(ema.none()), PARAMS[-1].astype(np.float32))
