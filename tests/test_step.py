import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffusion_jax import ema
from diffusion_jax.state import init_state
from diffusion_jax.step import make_train_step
from diffusion_jax.types import Batch, Frozen

X = jnp.array([[1.0, 2.0], [3.0, -2.0]])
P_0 = np.array([5.0, -5.0])


def loss_fn(params, frozen, key, batch, step):
    value = 0.5 * jnp.sum((params['w'] - jnp.mean(batch.x, 0)) ** 2)
    return value, {'loss': value, 'draw': jax.random.uniform(key), 'step': step}


def start(tx):
    return init_state(lambda key: {'w': jnp.asarray(P_0, jnp.float32)}, tx, Frozen(target=jnp.ones(2)))(
        jax.random.key(0)
    )


def test_gradient_descent_and_its_average_in_closed_form():
    lr, decay, n = 0.1, 0.8, 5
    tx = optax.sgd(lr)
    traces = []

    @jax.jit
    def step(state, key, batch):
        traces.append(1)
        return make_train_step(loss_fn, tx, ema.constant(decay))(state, key, batch)

    state, key, draws = start(tx), jax.random.key(7), []
    for _ in range(n):
        state, metrics = step(state, key, Batch(X))
        draws.append(float(metrics['draw']))
    x = np.array([2.0, 0.0])
    path = [x + (1 - lr) ** i * (P_0 - x) for i in range(n + 1)]  # towards the mean by 1 - lr a step
    average = decay**n * P_0 + (1 - decay) * sum(decay ** (n - i) * path[i] for i in range(1, n + 1))
    np.testing.assert_allclose(state.params['w'], path[-1], rtol=1e-5)
    np.testing.assert_allclose(state.ema['w'], average, rtol=1e-5)
    assert state.step == n
    assert metrics['step'] == n - 1
    np.testing.assert_array_equal(state.frozen.target, 1)
    assert len(traces) == 1
    # The key of a step is the run's key and the step's number.
    np.testing.assert_allclose(draws, [jax.random.uniform(jax.random.fold_in(key, i)) for i in range(n)], rtol=1e-6)


def test_gradient_norm_is_before_clipping_and_the_update_after():
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0))
    state, metrics = make_train_step(loss_fn, tx, ema.none())(start(tx), jax.random.key(0), Batch(X))
    grad = P_0 - np.array([2.0, 0.0])
    np.testing.assert_allclose(metrics['grad_norm'], np.linalg.norm(grad), rtol=1e-6)
    np.testing.assert_allclose(state.params['w'], P_0 - grad / np.linalg.norm(grad), rtol=1e-6)


def test_the_average_starts_at_the_parameters_in_its_own_memory():
    state = start(optax.adam(1e-3))
    np.testing.assert_array_equal(state.ema['w'], state.params['w'])
    assert state.step == 0
    assert state.ema['w'].unsafe_buffer_pointer() != state.params['w'].unsafe_buffer_pointer()
