"""A fresh state: what it holds, and that none of it is shared."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffusion_jax.optim import targets
from diffusion_jax.training.state import init_state
from diffusion_jax.types import Frozen


def test_fresh_state():
    def init(key):
        return {'w': jax.random.normal(key, (3,))}

    tx = optax.adam(1e-3)
    state = jax.jit(init_state(init, tx))(jax.random.key(5))
    expected = jax.random.normal(jax.random.key(5), (3,))
    assert state.step == 0
    assert state.step.dtype == jnp.int32
    np.testing.assert_array_equal(state.params['w'], expected)
    np.testing.assert_array_equal(state.ema['w'], expected)
    assert state.frozen == Frozen()
    assert jax.tree.structure(state.opt_state) == jax.tree.structure(tx.init(state.params))
    # Buffers that two leaves shared could not be donated.
    assert state.params['w'].unsafe_buffer_pointer() != state.ema['w'].unsafe_buffer_pointer()


def test_tracks_begin_as_the_parameters_in_buffers_of_their_own():
    state = jax.jit(init_state(lambda key: {'w': jnp.ones(3)}, optax.sgd(0.1), tracks=2))(jax.random.key(5))
    assert len(state.tracks) == 2
    buffers = [a['w'].unsafe_buffer_pointer() for a in (state.params, state.ema, *state.tracks)]
    assert len({*buffers}) == 4
    for track in state.tracks:
        np.testing.assert_array_equal(track['w'], state.params['w'])


def test_start_from_another_run():
    """Its parameters replace those of the same names; a teacher's, which may be the same, are kept beside them."""
    start = {'w': jnp.ones(3)}

    def init(key):
        return {'w': jnp.zeros(3), 'own': jax.random.normal(key, (2,))}

    tx = optax.adam(1e-3)
    state = jax.jit(init_state(init, tx))(jax.random.key(5), start)
    np.testing.assert_array_equal(state.params['w'], 1)
    np.testing.assert_array_equal(state.ema['w'], 1)
    np.testing.assert_array_equal(state.params['own'], jax.random.normal(jax.random.key(5), (2,)))
    assert state.frozen == Frozen()
    both = targets.moving_target(lambda step: step)
    state = jax.jit(init_state(init, tx, both))(jax.random.key(5), start, start)
    assert state.frozen.teacher.keys() == {'w'}
    jax.tree.map(np.testing.assert_array_equal, state.frozen.target, state.params)
    buffers = [a.unsafe_buffer_pointer() for a in jax.tree.leaves((state.params, state.ema, state.frozen))]
    assert len(set(buffers)) == len(buffers)
