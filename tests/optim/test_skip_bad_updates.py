"""Bad updates are left out, and nothing of them is left."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax.optim import ema as emas
from diffusion_jax.optim import skip_bad_updates
from diffusion_jax.optim.targets import moving_target
from diffusion_jax.training.state import init_state
from diffusion_jax.training.step import make_train_step
from diffusion_jax.types import Batch

W = jnp.asarray([1.0, -2.0, 0.5])


def run(tx, norms):
    """Parameters, state and counts after each gradient of these norms."""
    update = jax.jit(tx.update)
    params, state, found = W, tx.init(W), []
    for norm in norms:
        updates, state = update(jnp.asarray([0.6, 0.0, 0.8]) * norm, state, params)
        params = optax.apply_updates(params, updates)
        found.append((params, state, {k: int(v) for k, v in skip_bad_updates.counts(state).items()}))
    return found


def equal(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y, strict=True), a, b)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_adam_without_the_bad_gradients_is_adam_on_the_others(bad):
    bare, tx = optax.adam(0.1), skip_bad_updates.skipping(optax.adam(0.1))
    with_bad, without = run(tx, [1.0, bad, bad, 2.0, bad, 3.0]), run(tx, [1.0, 2.0, 3.0])
    assert [c['skipped'] for _, _, c in with_bad] == [0, 1, 2, 2, 3, 3]
    assert [c['skipped_in_a_row'] for _, _, c in with_bad] == [0, 1, 2, 0, 1, 0]
    for i, j in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 2)]:
        equal(with_bad[i][0], without[j][0])
        equal(with_bad[i][1][1].inner_state, without[j][1][1].inner_state)
        equal(with_bad[i][1][0], without[j][1][0])  # nor is the usual norm changed
    state, params = bare.init(W), W
    for norm in (1.0, 2.0, 3.0):
        updates, state = bare.update(jnp.asarray([0.6, 0.0, 0.8]) * norm, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(without[-1][0], params, rtol=1e-6)


def test_a_spike_is_more_than_so_many_times_the_usual_norm():
    """The mean of 2, 4, 4.5 with weights 1/4, 1/2, 1 (decay 1/2) is 4 and below 3 x 4 = 12 all is well."""
    tx = skip_bad_updates.skipping(optax.sgd(1.0), spike=3.0, decay=0.5, settled=3)
    taken = lambda norms: [c['skipped'] for _, _, c in run(tx, norms)]  # noqa: E731
    assert taken([2.0, 4.0, 4.5, 11.9]) == [0, 0, 0, 0]
    assert taken([2.0, 4.0, 4.5, 12.1, 12.1, 11.9]) == [0, 0, 0, 1, 2, 2]  # those left out change no mean
    assert taken([2.0, 40.0, 1.0]) == [0, 0, 0]  # two norms are no habit yet
    assert [c['skipped'] for _, _, c in run(skip_bad_updates.skipping(optax.sgd(1.0)), [1.0] * 3 + [1e9])] == [0] * 4


def test_an_optimiser_that_takes_all_counts_nothing():
    assert skip_bad_updates.counts(optax.adam(0.1).init(W)) == {}


def test_a_skipped_step_is_a_step_from_parameters_that_do_not_move():
    def loss(params, frozen, key, batch, step):
        value = 0.5 * jnp.mean(jnp.sum((params['w'][None] - batch.x) ** 2, axis=1))
        return value, {'loss': value}

    tx, target = skip_bad_updates.skipping(optax.adam(0.1)), moving_target(lambda k: 0.5)
    state = init_state(lambda key: {'w': W}, tx, target)(jax.random.key(0))
    step = jax.jit(make_train_step(loss, tx, emas.constant(0.75), target))
    good, bad = Batch(jnp.ones((4, 3))), Batch(jnp.ones((4, 3)).at[2, 1].set(jnp.nan))
    before, _ = step(state, jax.random.key(0), good)
    after, metrics = step(before, jax.random.key(0), bad)
    equal(after.params, before.params)
    assert (int(after.step), int(metrics['skipped']), int(metrics['skipped_in_a_row'])) == (2, 1, 1)
    assert np.isnan(metrics['loss'])
    # Average and target go on towards the parameters, as after any step.
    w = np.asarray(before.params['w'])
    np.testing.assert_allclose(after.ema['w'], 0.75 * before.ema['w'] + 0.25 * w, rtol=1e-6)
    np.testing.assert_allclose(after.frozen.target['w'], 0.5 * before.frozen.target['w'] + 0.5 * w, rtol=1e-6)
