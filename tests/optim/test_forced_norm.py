"""Weights brought back to unit magnitude; against PyTorch's training in tests/conversion/test_edm2.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax import builders
from diffusion_jax.optim.forced_norm import forced_norm

RNG = np.random.default_rng(0)
PARAMS = {
    'conv': {'mp_direction': jnp.asarray(RNG.standard_normal((3, 4, 5)), jnp.float32)},
    'dense': {'kernel': jnp.asarray(RNG.standard_normal((4, 5)), jnp.float32)},
}
GRADS = jax.tree.map(lambda p: jnp.asarray(RNG.standard_normal(p.shape), jnp.float32), PARAMS)


def run(tx, steps):
    params, state = PARAMS, tx.init(PARAMS)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(GRADS, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


@pytest.mark.parametrize('steps', [1, 20])
def test_each_weight_vector_has_unit_magnitude_after_any_number_of_steps(steps):
    spec = {'name': 'adam', 'lr': 0.5}
    (ours, state), (bare, of_bare) = run(builders.build_optimiser(spec, 8), steps), run(optax.adam(0.5), steps)
    w = np.asarray(ours['conv']['mp_direction'], np.float64)
    magnitude = np.sqrt((w**2).mean((0, 1)))
    assert magnitude.shape == (5,)
    np.testing.assert_allclose(magnitude, 1, atol=2e-4)
    np.testing.assert_allclose(ours['dense']['kernel'], bare['dense']['kernel'], rtol=1e-6)
    loose = run(builders.build_optimiser({**spec, 'forced_norm': False}, 8), steps)
    np.testing.assert_allclose(loose[0]['conv']['mp_direction'], bare['conv']['mp_direction'], rtol=1e-5)
    # The state is the optimiser's own, so that a run can go on with or without.
    assert jax.tree.structure(state) == jax.tree.structure(loose[1])
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(loose[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    del of_bare


def test_the_step_is_the_optimisers_and_then_the_length():
    (ours, _), (bare, _) = run(forced_norm(optax.sgd(0.1)), 1), run(optax.sgd(0.1), 1)
    w = np.asarray(bare['conv']['mp_direction'], np.float64)
    r = np.sqrt((w**2).mean((0, 1)))
    np.testing.assert_allclose(ours['conv']['mp_direction'], w / (r + 1e-4), atol=1e-6)


def test_it_needs_the_parameters_where_there_are_such_weights():
    tx = forced_norm(optax.sgd(0.1))
    with pytest.raises(ValueError, match='needs the parameters'):
        tx.update(GRADS, tx.init(PARAMS))
