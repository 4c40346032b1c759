"""Averages against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.optim import ema as emas

PARAMS = (
    np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
)  # those after steps 1 .. 7, the first before


def run(ema):
    ema, average = jax.jit(ema), {'w': jnp.asarray(PARAMS[0])}
    for k in range(7):
        average = ema(average, {'w': jnp.asarray(PARAMS[k + 1])}, jnp.int32(k))
    return average['w']


@pytest.mark.parametrize('decay', [0.5, 0.9, 0.9999])
def test_constant_is_the_geometric_sum(decay):
    weights = np.append(decay**7, (1 - decay) * decay ** np.arange(6, -1, -1))
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(run(emas.constant(decay)), weights @ PARAMS, atol=1e-6)


def test_warm_up_is_its_formula():
    expected, decays = PARAMS[0].astype(np.float64), []
    for k in range(7):
        decays.append(min(0.3, (1 + k) / (10 + k)))
        expected = decays[-1] * expected + (1 - decays[-1]) * PARAMS[k + 1]
    assert decays[0] == 0.1
    assert decays[1] == 2 / 11
    assert decays[-1] == 0.3
    np.testing.assert_allclose(run(emas.warm_up(0.3)), expected, atol=1e-6)


def test_none_is_the_current_parameters():
    np.testing.assert_array_equal(run(emas.none()), PARAMS[-1])
