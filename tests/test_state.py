"""A fresh state: what it holds, and that none of it is shared."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffusion_jax.state import init_state
from diffusion_jax.types import Frozen


def test_fresh_state():
    def init(key):
        return {'w': jax.random.normal(key, (3,))}

    tx, teacher = optax.adam(1e-3), {'w': jnp.ones(2)}
    state = jax.jit(init_state(init, tx, Frozen(teacher=teacher)))(jax.random.key(5))
    expected = jax.random.normal(jax.random.key(5), (3,))
    assert state.step == 0
    assert state.step.dtype == jnp.int32
    np.testing.assert_array_equal(state.params['w'], expected)
    np.testing.assert_array_equal(state.ema['w'], expected)
    np.testing.assert_array_equal(state.frozen.teacher['w'], 1)
    assert jax.tree.structure(state.opt_state) == jax.tree.structure(tx.init(state.params))
    # Buffers that two leaves shared could not be donated.
    assert state.params['w'].unsafe_buffer_pointer() != state.ema['w'].unsafe_buffer_pointer()
