"""The training step against stochastic gradient descent by hand, on a loss that is quadratic in its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax.optim import ema as emas
from diffusion_jax.training.state import TrainState, init_state
from diffusion_jax.training.step import make_train_step
from diffusion_jax.types import Batch, Frozen

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
BATCH = Batch(jnp.asarray(X))
W, LR, DECAY = np.array([1.0, -2.0, 0.5], np.float32), 0.1, 0.75


def quadratic(params, frozen, key, batch, step):
    del key, step
    value = 0.5 * jnp.mean(jnp.sum((params['w'][None] - batch.x) ** 2, axis=1))
    return value, {'loss': value}


def noisy(params, frozen, key, batch, step):
    draw = jax.random.normal(key, params['w'].shape)
    return jnp.sum(params['w'] * draw), {'draw': draw[0]}


def fresh(tx, frozen=Frozen()):  # noqa: B008
    return init_state(lambda key: {'w': jnp.asarray(W)}, tx)(jax.random.key(0))._replace(frozen=frozen)


def test_one_step_of_sgd_by_hand():
    tx = optax.sgd(LR)
    state, metrics = jax.jit(make_train_step(quadratic, tx, emas.constant(DECAY)))(fresh(tx), jax.random.key(0), BATCH)
    gradient = W - X.mean(0)
    after = W - LR * gradient
    np.testing.assert_allclose(state.params['w'], after, rtol=1e-6)
    np.testing.assert_allclose(state.ema['w'], DECAY * W + (1 - DECAY) * after, rtol=1e-6)
    np.testing.assert_allclose(metrics['grad_norm'], np.sqrt((gradient**2).sum()), rtol=1e-6)
    np.testing.assert_allclose(metrics['loss'], 0.5 * ((W - X) ** 2).sum(1).mean(), rtol=1e-6)
    assert state.step == 1


def test_tracks_follow_the_parameters_as_averages_of_their_own():
    tx, lengths = optax.sgd(LR), (0.05, 0.2)
    tracks = [emas.power(s) for s in lengths]
    state = init_state(lambda key: {'w': jnp.asarray(W)}, tx, tracks=2)(jax.random.key(0))
    step, path = jax.jit(make_train_step(quadratic, tx, emas.none(), tracks=tracks)), []
    for _ in range(6):
        state, _ = step(state, jax.random.key(0), BATCH)
        path.append(state.ema['w'])
    for sigma_rel, track in zip(lengths, state.tracks, strict=True):
        weights = np.diff((np.arange(7) / 6) ** (emas.gamma_of(sigma_rel) + 1))
        np.testing.assert_allclose(track['w'], weights @ np.stack(path), rtol=1e-5)


def test_parts_of_a_batch_add_up_to_its_step():
    tx = optax.sgd(LR)
    whole, cut = (
        jax.jit(make_train_step(quadratic, tx, emas.constant(DECAY), parts=parts))(fresh(tx), jax.random.key(0), BATCH)
        for parts in (1, 4)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), whole, cut)


def test_every_part_has_its_own_rows_and_key():
    seen = []

    def loss(params, frozen, key, batch, step):
        jax.debug.callback(lambda x, n: seen.append((sorted(x), float(n))), batch.x[:, 0], jax.random.normal(key))
        return params['w'].sum() * jnp.mean(batch.x), {}

    batch, tx = Batch(jnp.arange(6.0)[:, None] * jnp.ones(3)[None]), optax.sgd(LR)
    jax.block_until_ready(make_train_step(loss, tx, emas.none(), parts=3)(fresh(tx), jax.random.key(0), batch))
    jax.effects_barrier()
    assert sorted(x for rows, _ in seen for x in rows) == [0, 1, 2, 3, 4, 5]
    assert len({draw for _, draw in seen}) == 3


def test_many_steps_follow_the_closed_form():
    tx = optax.sgd(LR)
    step, state = jax.jit(make_train_step(quadratic, tx, emas.none())), fresh(tx)
    for _ in range(20):
        state, _ = step(state, jax.random.key(0), BATCH)
    mean = X.mean(0)
    np.testing.assert_allclose(state.params['w'], mean + (1 - LR) ** 20 * (W - mean), rtol=1e-5)


def test_the_ema_warms_up_from_step_zero():
    tx = optax.sgd(LR)
    step, state = jax.jit(make_train_step(quadratic, tx, emas.warm_up(0.999))), fresh(tx)
    expected = W.astype(np.float64)
    for k in range(3):
        state, _ = step(state, jax.random.key(0), BATCH)
        decay = (1 + k) / (10 + k)
        expected = decay * expected + (1 - decay) * np.asarray(state.params['w'])
    np.testing.assert_allclose(state.ema['w'], expected, rtol=1e-6)


def test_grad_norm_is_that_before_clipping():
    tx = optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(1.0))
    state, metrics = make_train_step(quadratic, tx, emas.none())(fresh(tx), jax.random.key(0), BATCH)
    gradient = W - X.mean(0)
    norm = np.sqrt((gradient**2).sum())
    np.testing.assert_allclose(metrics['grad_norm'], norm, rtol=1e-6)
    np.testing.assert_allclose(state.params['w'], W - 0.01 * gradient / norm, rtol=1e-6)


def test_each_step_draws_anew_and_the_same_step_the_same():
    tx = optax.sgd(0.0)
    step = jax.jit(make_train_step(noisy, tx, emas.none()))

    def draws(seed):
        state, found = fresh(tx), []
        for _ in range(3):
            state, metrics = step(state, jax.random.key(seed), BATCH)
            found.append(float(metrics['draw']))
        return found

    first = draws(0)
    assert len({*first, *draws(1)}) == 6
    assert draws(0) == first
    resumed, metrics = step(fresh(tx)._replace(step=jnp.int32(2)), jax.random.key(0), BATCH)
    assert float(metrics['draw']) == first[2]
    assert resumed.step == 3


def test_the_loss_gets_the_step_and_what_is_frozen():
    def loss(params, frozen, key, batch, step):
        value = jnp.sum(params['w'] * frozen.teacher['w']) * (1.0 + step)
        return value, {'step': step}

    tx = optax.sgd(1.0)
    state = fresh(tx, Frozen(teacher={'w': jnp.asarray([1.0, 2.0, 3.0])}))._replace(step=jnp.int32(4))
    after, metrics = make_train_step(loss, tx, emas.none())(state, jax.random.key(0), BATCH)
    assert metrics['step'] == 4
    np.testing.assert_allclose(after.params['w'], W - 5 * np.array([1, 2, 3]))
    np.testing.assert_array_equal(after.frozen.teacher['w'], state.frozen.teacher['w'])


@pytest.mark.parametrize('ema', [emas.none(), emas.constant(0.9)], ids=['none', 'constant'])
def test_a_donated_state_and_no_second_trace(ema):
    traces = []

    def loss(params, frozen, key, batch, step):
        traces.append(1)
        return quadratic(params, frozen, key, batch, step)

    tx = optax.adam(LR)
    plain, donated = (
        jax.jit(make_train_step(loss, tx, ema)),
        jax.jit(make_train_step(loss, tx, ema), donate_argnums=0),
    )
    expected, state = fresh(tx), fresh(tx)
    for _ in range(3):
        expected, _ = plain(expected, jax.random.key(0), BATCH)
        old, (state, _) = state, donated(state, jax.random.key(0), BATCH)
        assert old.params['w'].is_deleted()
    assert isinstance(state, TrainState)
    assert len(traces) == 2  # one of each
    assert donated._cache_size() == 1
    jax.tree.map(np.testing.assert_array_equal, state, expected)
