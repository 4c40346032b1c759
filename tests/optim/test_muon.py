"""Muon: directions against NumPy's singular vectors, sizes against the closed form, and what is left to Adam."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax.builders.optimiser import build_optimiser
from diffusion_jax.optim.muon import muon
from diffusion_jax.training.run import train
from tests import tiny

LR = 0.01
# Five steps of the quintic iteration bring singular values between 0.01 and 1 here: it does not converge to 1.
NEAR_ONE = 0.65, 1.25


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def first_update(grads, params=None, **arguments):
    params = jax.tree.map(jnp.ones_like, grads) if params is None else params
    tx = muon(LR, **arguments)
    return tx.update(grads, tx.init(params), params)[0]


@pytest.mark.parametrize('shape', [(6, 6), (4, 12), (12, 4)])
def test_a_matrix_moves_along_its_gradients_singular_vectors_all_alike(shape):
    gradient = normal(0, *shape)
    update = first_update({'dense': {'kernel': gradient}})['dense']['kernel']
    u, _, vt = np.linalg.svd(np.asarray(gradient, np.float64), full_matrices=False)
    along = u.T @ np.asarray(update, np.float64) @ vt.T
    values = -np.diag(along) / (
        LR * 0.2 * np.sqrt(max(shape))
    )  # an orthogonal n x m has a mean square of 1 / max(n, m)
    assert np.all((values > NEAR_ONE[0]) & (values < NEAR_ONE[1])), values
    np.testing.assert_allclose(along - np.diag(np.diag(along)), 0, atol=1e-6)


def test_an_update_is_in_proportion_to_its_rms():
    grads = {'kernel': normal(1, 8, 16)}
    np.testing.assert_allclose(first_update(grads, rms=0.5)['kernel'], 2.5 * first_update(grads)['kernel'], rtol=1e-5)


def test_layers_of_a_stack_and_places_of_a_window_are_matrices_by_themselves():
    stack = normal(2, 3, 5, 7)
    together = first_update({'kernel': stack})['kernel']
    for layer, update in zip(stack, together, strict=True):
        np.testing.assert_allclose(update, first_update({'kernel': layer})['kernel'], rtol=1e-4, atol=1e-7)
    window = first_update({'kernel': stack.reshape(3, 1, 5, 7)})['kernel']
    np.testing.assert_allclose(window.reshape(stack.shape), together, rtol=1e-5, atol=1e-8)


def test_what_is_no_matrix_is_adams():
    grads = {'dense': {'kernel': normal(3, 4, 4), 'bias': normal(4, 4)}, 'table': {'embedding': normal(5, 10, 4)}}
    update = first_update(grads)
    adam = optax.adam(LR, nesterov=True)
    rest = {'bias': grads['dense']['bias'], 'embedding': grads['table']['embedding']}
    expected, _ = adam.update(rest, adam.init(rest))
    np.testing.assert_allclose(update['dense']['bias'], expected['bias'], rtol=1e-5)
    np.testing.assert_allclose(update['table']['embedding'], expected['embedding'], rtol=1e-5)


def test_weights_of_matrices_decay_and_others_do_not():
    grads = {'kernel': normal(6, 4, 4), 'bias': normal(7, 4)}
    params = {'kernel': normal(8, 4, 4), 'bias': normal(9, 4)}
    with_decay, without = first_update(grads, params, weight_decay=0.5), first_update(grads, params)
    np.testing.assert_allclose(with_decay['kernel'] - without['kernel'], -LR * 0.5 * params['kernel'], atol=1e-7)
    np.testing.assert_array_equal(with_decay['bias'], without['bias'])


def test_a_config_asks_for_it_and_a_least_square_problem_is_solved():
    tx = build_optimiser({'name': 'muon', 'lr': 0.2, 'anneal': {'name': 'linear'}}, steps=200)
    x, w = normal(10, 64, 6), normal(11, 6, 3)
    params = {'kernel': jnp.zeros((6, 3)), 'bias': jnp.ones(3)}

    def loss(params):
        return jnp.mean(jnp.square(x @ (params['kernel'] - w) + params['bias'][None]))

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(200):
        params, state = step(params, state)
    np.testing.assert_allclose(params['kernel'], w, atol=0.02)
    np.testing.assert_allclose(params['bias'], 0, atol=0.02)


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit(tmp_path):
    config = tiny.points(steps=4, save_every=2)
    config = {**config, 'optim': {**config['optim'], 'name': 'muon'}}
    whole = train(config, tmp_path / 'whole')
    train({**config, 'train': {**config['train'], 'steps': 2}}, tmp_path / 'run')
    state = train(config, tmp_path / 'run', allow_config_change=True)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(whole))
