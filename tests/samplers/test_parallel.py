"""Picard iterations against the same run one step after another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, times
from diffusion_jax.samplers.ancestral import Memoryless
from diffusion_jax.types import Sampler
from tests.oracles import MIXTURE
from tests.samplers.test_ancestral import LINEAR, bind

S = 60
GRID = times.trailing(S, 1000)
DENOISE = bind(MIXTURE, LINEAR)
KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(8, 2))


def both(sampler, window, tolerance):
    x = jnp.asarray(X)
    run = jax.jit(lambda x, tolerance: samplers.parallel(sampler, KEY, x, GRID, window, tolerance))
    want = jax.jit(lambda x: samplers.sample(sampler, KEY, x, GRID))(x)
    return [(*run(x, t), want) for t in tolerance]


def test_without_tolerance_it_is_the_sequential_run(x64):
    """A stochastic sampler, so with the noise of every step; a window that does not divide the run."""
    [(x, evaluations, want)] = both(samplers.ancestral(DENOISE, LINEAR), 25, [0.0])
    np.testing.assert_allclose(x, want, rtol=1e-12)
    assert evaluations <= S


@pytest.mark.parametrize(('make', 'most'), [(samplers.ddim, 12), (samplers.ancestral, 26)])
def test_to_a_tolerance_in_fewer_evaluations(make, most, x64):
    """Of 60 steps DDIM took 10 and 9 evaluations one after another when this was written, DDPM 22 and 21."""
    runs = both(make(DENOISE, LINEAR), 30, [1e-4, 1e-3])
    for (x, evaluations, want), tolerance in zip(runs, (1e-4, 1e-3), strict=True):
        assert 0 < np.abs(x - want).max() < tolerance
        assert evaluations <= most
    assert runs[1][1] < runs[0][1]


def test_a_window_longer_than_the_run_is_the_run():
    sampler, x = samplers.ddim(lambda x, t: 0.5 * x, LINEAR), jnp.asarray(X, jnp.float32)
    out = samplers.parallel(sampler, KEY, x, GRID[-6:], 9, 0.0)
    np.testing.assert_allclose(out.x, samplers.sample(sampler, KEY, x, GRID[-6:]), rtol=1e-5)
    assert out.evaluations <= 5


def test_a_later_point_does_not_settle_before_an_earlier_one(x64):
    """After a leap the points are so large that the early ones' changes count for nothing beside them."""

    def step(key, state, t, s):
        return Memoryless(state.x + jnp.where(t > 5, jnp.sin(state.x), jnp.where(t == 5, 1e6, 0.0)))

    sampler, grid, x = Sampler(Memoryless, step), np.arange(8.0, -1, -1), jnp.asarray(X)
    out = samplers.parallel(sampler, KEY, x, grid, 8, 1e-3)
    np.testing.assert_allclose(out.x, samplers.sample(sampler, KEY, x, grid), rtol=0, atol=0.01)


def test_what_cannot_run_in_parallel_is_refused():
    x = jnp.asarray(X, jnp.float32)
    with pytest.raises(ValueError, match=r'window must be a whole number in \[1, inf\); got 0'):
        samplers.parallel(samplers.ddim(DENOISE, LINEAR), KEY, x, GRID, 0)
    with pytest.raises(ValueError, match='without memory'):
        samplers.parallel(Sampler(lambda x: (x, x), lambda *_: x), KEY, x, GRID, 5)
