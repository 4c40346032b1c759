"""A step with a second learner against SGD by hand: the model's w follows the second's v, and v follows w.

The model's loss is (w - v)^2 / 2 and the second's (v - w - mean x)^2 / 2. The bugs planted against these tests are in
tests/planted/second_learner.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax import builders, objectives
from diffusion_jax.errors import UserError
from diffusion_jax.optim import ema as emas
from diffusion_jax.optim import skip_bad_updates
from diffusion_jax.training import loop
from diffusion_jax.training.state import init_state
from diffusion_jax.training.step import make_train_step
from diffusion_jax.types import Batch, Frozen, Objective, SecondLearner
from tests import few_step, tiny

W, V, LR, LR_2 = 2.0, -1.0, 0.1, 0.3
KEY, BATCH = jax.random.key(0), Batch(jnp.arange(4.0)[:, None])


def model_loss(w, frozen, key, batch, step):
    value = jnp.mean((w - frozen.other) ** 2 * (1 + 0 * batch.x)) / 2
    return value, {'loss': value, 'saw': frozen.other}


def second_loss(v, frozen, key, batch, step):
    value = jnp.mean((v - frozen.other - batch.x) ** 2) / 2
    return value, {'loss': value, 'saw': frozen.other, 'draw': jax.random.normal(key)}


def learner(updates=3, loss=second_loss, tx=None):
    return SecondLearner('critic', lambda key, teacher: jnp.float32(V), loss, updates, tx or optax.sgd(LR_2))


def fresh(second, tx=None):
    return init_state(lambda key: jnp.float32(W), tx or optax.sgd(LR), second=second)(KEY)


def run(second, steps=1, parts=1, tx=None, loss=model_loss, batches=None):
    """The state and the metrics after each of the steps."""
    tx = tx or optax.sgd(LR)
    step = jax.jit(make_train_step(loss, tx, emas.constant(0.5), parts=parts, second=second), donate_argnums=0)
    state, found = fresh(second, tx), []
    for batch in batches or [BATCH] * steps:
        state, metrics = step(state, KEY, batch)
        found.append(jax.device_get((state, metrics)))
    assert step._cache_size() == 1
    return found


@pytest.mark.parametrize(('updates', 'parts'), [(1, 1), (5, 1), (3, 2)])
def test_so_many_updates_of_it_before_each_of_the_model(updates, parts):
    """In a step v nears w + mean x, of where w was, by LR_2 an update; then w nears that v, once."""
    w, v, ema = W, V, W
    for state, metrics in run(learner(updates), steps=3, parts=parts):
        goal, losses = w + 1.5, []
        for _ in range(updates):
            losses.append((v - goal) ** 2 / 2 + np.var([0, 1, 2, 3]) / 2)
            v += LR_2 * (goal - v)
        saw, w = w, w - LR * (w - v)
        ema = (ema + w) / 2
        np.testing.assert_allclose([state.params, state.second.params, state.ema], [w, v, ema], rtol=1e-6)
        np.testing.assert_allclose([metrics['saw'], metrics['critic_saw']], [v, saw], rtol=1e-6)
        np.testing.assert_allclose(metrics['critic_loss'], np.mean(losses), rtol=1e-6)
        assert state.frozen == Frozen()
    assert state.step == 3


def test_metrics_are_means_and_their_gradient_is_their_own():
    (_, metrics), (_, more) = run(learner(2), steps=2)
    gradients = [V - W - 1.5, (1 - LR_2) * (V - W - 1.5)]
    np.testing.assert_allclose(metrics['critic_grad_norm'], np.mean(np.abs(gradients)), rtol=1e-6)
    v = V - LR_2 * sum(gradients)
    np.testing.assert_allclose(metrics['grad_norm'], abs(W - v), rtol=1e-6)
    assert metrics.keys() == more.keys() == {
        'loss', 'saw', 'grad_norm', 'critic_loss', 'critic_saw', 'critic_draw', 'critic_grad_norm',
    }  # fmt: skip


def test_each_update_draws_by_a_key_of_its_own():
    keys = []

    def seen(key):
        jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))

    def second(v, frozen, key, batch, step):
        seen(key)
        return second_loss(v, frozen, key, batch, step)

    def model(w, frozen, key, batch, step):
        seen(key)
        return model_loss(w, frozen, key, batch, step)

    run(learner(5, second), steps=2, loss=model)
    jax.effects_barrier()
    assert len(keys) == len({*keys}) == 12


def test_its_optimiser_counts_its_own_updates():
    """Adam's count, and with it every schedule of a rate."""
    (_, _), (state, _) = run(learner(3, tx=optax.adam(0.1)), steps=2, tx=optax.adam(0.1))
    assert optax.tree.get(state.second.opt_state, 'count') == 6
    assert optax.tree.get(state.opt_state, 'count') == 2


BAD = Batch(BATCH.x.at[1, 0].set(jnp.nan))


def test_bad_updates_are_left_out_and_counted_in_steps():
    """Three bad updates are one bad step; what it learns goes on from where it was."""
    tx = skip_bad_updates.skipping(optax.sgd(LR_2))
    found = run(learner(3, tx=tx), tx=skip_bad_updates.skipping(optax.sgd(LR)), batches=[BATCH, BAD, BAD, BATCH])
    assert [(int(m['skipped']), int(m['skipped_in_a_row'])) for _, m in found] == [(0, 0), (4, 1), (8, 2), (8, 0)]
    states = [s for s, _ in found]
    assert states[1].params == states[0].params == states[2].params
    assert states[1].second.params == states[0].second.params != states[3].second.params


def test_one_bad_update_among_good_ones_makes_the_step_a_bad_one():
    def sometimes(v, frozen, key, batch, step):
        value, metrics = second_loss(v, frozen, key, batch, step)
        bad = jnp.where(jax.random.bernoulli(key), jnp.nan, 0.0)
        return value + bad * v, metrics | {'bad': jnp.isnan(bad).astype(float)}

    skip = skip_bad_updates.skipping
    found = run(learner(3, sometimes, skip(optax.sgd(LR_2))), steps=12, tx=skip(optax.sgd(LR)))
    bad = np.round([3 * m['critic_bad'] for _, m in found])
    assert {0.0, 1.0, 2.0} <= {*bad}
    in_a_row = np.array([m['skipped_in_a_row'] for _, m in found])
    np.testing.assert_array_equal(in_a_row > 0, bad > 0)
    np.testing.assert_array_equal([m['skipped'] for _, m in found], np.cumsum(bad))


def test_weights_of_it_that_are_not_finite_are_not_saved():
    saved, state = [], fresh(learner())

    def step(state, key, batch):
        second = state.second._replace(params=jnp.float32(jnp.inf))
        return state._replace(step=state.step + 1, second=second), {'loss': jnp.float32(0)}

    hooks = loop.Hooks(lambda *_: None, lambda state, means: saved.append(state), lambda *_: None, lambda k: 0, print)
    with pytest.raises(UserError, match=r'^step 1: weights that are not finite'):
        loop.fit(step, state, KEY, iter([BATCH]), 1, loop.Every(0, 1, 0), hooks)
    assert not saved


def test_it_begins_by_its_own_key_and_from_the_teacher():
    seen = {}

    def begin(key, teacher):
        seen['second'] = key
        return {'critic': jax.random.normal(key, (3,)), **teacher}

    def init(key):
        seen['model'] = key
        return {'w': jnp.zeros(2)}

    second, teacher = learner()._replace(init=begin, tx=optax.adam(0.1)), {'t': jnp.ones(2)}
    state = init_state(init, optax.sgd(LR), second=second)(KEY, None, teacher)
    assert state.second.params.keys() == {'critic', 't'}
    np.testing.assert_array_equal(state.second.params['t'], 1)
    assert optax.tree.get(state.second.opt_state, 'mu').keys() == {'critic', 't'}
    assert len({tuple(jax.random.key_data(k).tolist()) for k in (KEY, *seen.values())}) == 3
    buffers = [a.unsafe_buffer_pointer() for a in jax.tree.leaves((state.second.params, state.frozen, teacher))]
    assert len({*buffers}) == len(buffers) - (state.frozen.teacher is None)


def test_without_one_the_state_has_no_place_for_it():
    state = init_state(lambda key: jnp.array(W), optax.sgd(LR))(KEY)
    assert state.second is None
    assert len(jax.tree.leaves(state)) == 3 + len(jax.tree.leaves(state.opt_state))


def built(**changes):
    config = few_step.run('dmd')
    return builders.build({**config, 'teacher': few_step.run('edm'), **changes})


def test_its_rate_falls_over_its_own_updates():
    """Five a step: over 4 steps a linear rate is at half after 10 updates."""
    spec = {'name': 'sgd', 'lr': 0.2, 'anneal': {'name': 'linear'}}
    tx = built(second_optim=spec).second.tx
    state, found = tx.init(jnp.array(1.0)), []
    for _ in range(21):
        updates, state = tx.update(jnp.array(1.0), state)
        found.append(-float(updates))
    np.testing.assert_allclose(found, 0.2 * (1 - np.arange(21) / 20), atol=1e-7)


def test_it_skips_bad_updates_as_the_model_does():
    assert skip_bad_updates.counts(built().second.tx.init(jnp.array(1.0))) == {}
    skipping = built(train={**few_step.run('dmd')['train'], 'max_skips': 2}).second.tx
    assert skip_bad_updates.counts(skipping.init(jnp.array(1.0))).keys() == {'skipped', 'skipped_in_a_row'}


@objectives.trains('denoise')
def of_two(model):
    return Objective(None, model_loss, second=learner()._replace(tx=None))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            {**tiny.points(), 'objective': {'name': f'{__name__}.of_two'}},
            'config.second_optim: this objective has a second learner, critic, with an optimiser of its own: set one, '
            '--config.second_optim=adam:lr=1e-4',
        ),
        (
            {**tiny.points(), 'second_optim': {'name': 'adam', 'lr': 1e-4}},
            'config.second_optim: this objective has no second learner to optimise: leave it out',
        ),
        (
            {**tiny.points(), 'objective': {'name': f'{__name__}.of_two'}, 'second_optim': {'name': 'adam'}},
            'config.second_optim has no lr',
        ),
        (
            {
                **tiny.points(),
                'objective': {'name': f'{__name__}.of_two'},
                'second_optim': {'name': 'adam', 'lr': 0.1, 'clp': 1.0},
            },
            'config.second_optim.clp is not an argument of adam; did you mean clip',
        ),
    ],
    ids=['none', 'too many', 'no rate', 'unknown'],
)
def test_an_optimiser_too_few_or_too_many(config, message):
    with pytest.raises(UserError) as error:
        builders.build({**config, 'teacher': None})
    assert str(error.value).startswith(message), str(error.value)
