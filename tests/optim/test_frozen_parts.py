"""An optimiser of the rest: what it keeps, and what it does to both."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax.optim.frozen_parts import without

PARAMS = {'text': {'w': jnp.ones(7)}, 'body': {'text': jnp.arange(3.0), 'w': jnp.ones(5)}}
GRADS = {'text': {'w': jnp.zeros(7)}, 'body': {'text': jnp.array([0.1, 2.0, -3.0]), 'w': jnp.full(5, -0.5)}}


def steps(tx, params, grads):
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize(
    'tx',
    [
        optax.adamw(0.1, weight_decay=0.5),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)),
        optax.apply_if_finite(optax.lion(0.1), 5),
    ],
)
def test_the_rest_is_trained_as_if_it_were_all(tx):
    """Also what lies deeper under the same name; the part itself is not even decayed."""
    found, state = steps(without(tx, ('text',)), PARAMS, GRADS)
    expected, alone = steps(tx, {'body': PARAMS['body']}, {'body': GRADS['body']})
    for name, w in expected['body'].items():
        np.testing.assert_array_equal(found['body'][name], w)
    np.testing.assert_array_equal(found['text']['w'], PARAMS['text']['w'])
    shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
    assert (7,) not in shapes
    assert sorted(shapes) == sorted(leaf.shape for leaf in jax.tree.leaves(alone))


def test_without_a_part_it_is_the_optimiser_itself():
    tx = optax.adam(0.1)
    assert without(tx, ()) is tx
