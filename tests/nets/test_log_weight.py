import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffusion_jax.nets import MLP, LogWeight, functional
from diffusion_jax.nets.blocks import sinusoid
from tests.nets.cases import randomised

C = jnp.linspace(-7.0, 4.0, 200)
NET = LogWeight()


def test_zero_at_initialisation_with_a_gradient_everywhere():
    params = jax.jit(NET.init)(jax.random.key(0), C)['params']
    np.testing.assert_array_equal(NET.apply({'params': params}, C), np.zeros(200))
    grads = jax.grad(lambda p: jnp.sum(jnp.exp(NET.apply({'params': p}, C)) * (2 + jnp.sin(C))))(params)
    assert all((g != 0).all() for g in jax.tree.leaves(grads))
    assert {g.dtype for g in jax.tree.leaves(params)} == {jnp.dtype('float32')}


def test_against_numpy():
    params = randomised(jax.eval_shape(NET.init, jax.random.key(0), C)['params'])
    want = np.asarray(sinusoid(C, 64, 100.0)) @ np.asarray(params['dense']['kernel'])[:, 0] + params['dense']['bias']
    np.testing.assert_allclose(NET.apply({'params': params}, C), want, rtol=1e-5, atol=1e-5)


def test_it_learns_the_log_of_an_error_that_depends_on_the_noise_level():
    """The loss e^w error - w, by Adam at a network's learning rate: an error of size e^-6 .. e^-1 within a fifth."""
    log_error = -1 - 5 * jax.nn.sigmoid(C)
    params = jax.jit(NET.init)(jax.random.key(0), C)['params']
    tx, steps = optax.adam(1e-3), 3000

    def loss(params):
        w = NET.apply({'params': params}, C)
        return jnp.mean(jnp.exp(w + log_error) - w)

    def step(state, _):
        params, opt_state = state
        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    (params, _), _ = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, steps))(params)
    np.testing.assert_allclose(NET.apply({'params': params}, C), -log_error, rtol=0, atol=0.2)


def test_its_parameters_lie_beside_a_networks():
    """What is called log_weight among the parameters is nobody else's business."""
    init, apply = functional(MLP(width=8, depth=1))
    x, c = jnp.ones((3, 2)), jnp.ones(3)
    params = jax.jit(init)(jax.random.key(0), x, c)
    both = {**params, 'log_weight': NET.init(jax.random.key(1), c)['params']}
    np.testing.assert_array_equal(apply(both, x, c, None, None), apply(params, x, c, None, None))
