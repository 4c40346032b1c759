"""One training step as a pure function."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from diffusion_jax.optim import skip_bad_updates
from diffusion_jax.optim.ema import Ema
from diffusion_jax.optim.targets import Targets, fixed
from diffusion_jax.training.state import Learner, TrainState
from diffusion_jax.types import Key, LossFn, Metrics, SecondLearner

_FIXED = fixed()
TrainStep = Callable[[TrainState, Key, Any], tuple[TrainState, Metrics]]


def make_train_step(
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    ema: Ema,
    freezing: Targets = _FIXED,
    parts: int = 1,
    tracks: Sequence[Ema] = (),
    second: SecondLearner | None = None,
) -> TrainStep:
    """`(state, key, batch) -> (state, metrics)`; to be jitted with the state donated.

    `key` is the run's key, the same at every step: what a step draws follows from it and `state.step`. Metrics are the
    loss's own, `grad_norm`, before any clipping, and the counts of `skip_bad_updates` if it is in use. A step
    whose update is left out is a step all the same: data, curricula, average, target and teacher go on from parameters
    that have not moved.

    Args:
        loss_fn: a mean over the batch.
        tx: the optimiser.
        ema: the average to keep.
        freezing: what becomes of target and teacher.
        parts: into how many the batch is cut, to be gone through one after the other in the memory of one (gradient
            accumulation). Gradient and metrics are the means over them; part i draws with fold_in(key, i).
        tracks: further averages to keep, in the order of `TrainState.tracks`.
        second: what is updated `second.updates` times before the model is updated once, on the same batch, with a key
            for each update. Its metrics are means over these, `grad_norm` among them, under its name.
    """
    of_the_model = _metrics_and_grads(loss_fn, parts)
    train_second = None if second is None else _updates(second, parts)

    def train_step(state, key, batch):
        key = jax.random.fold_in(key, state.step)
        seen, learner, more, skipped = state.frozen, None, {}, {}
        if train_second is not None:
            key, key_second = jax.random.split(key)
            learner, more, skipped = train_second(state, key_second, batch)
            seen = seen._replace(other=learner.params)
        metrics, grads = of_the_model(state.params, seen, key, batch, state.step)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        frozen = freezing.update(state.frozen, params, step)
        pairs = zip(tracks, state.tracks, strict=True)
        others = tuple(average(track, params, state.step) for average, track in pairs)
        state = TrainState(step, params, ema(state.ema, params, state.step), opt_state, frozen, others, learner)
        skipped = skip_bad_updates.of_both(skip_bad_updates.counts(opt_state), skipped)
        return state, {**metrics, 'grad_norm': optax.tree.norm(grads), **more, **skipped}

    return train_step


def _metrics_and_grads(loss_fn, parts):
    """`(params, frozen, key, batch, step) -> (metrics, gradient)` of a loss, over the parts of a batch."""
    value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)

    def whole(params, frozen, key, batch, step):
        (_, metrics), grads = value_and_grad(params, frozen, key, batch, step)
        return metrics, grads

    def accumulated(params, frozen, key, batch, step):
        def add(total, i_and_part):
            i, part = i_and_part
            one = whole(params, frozen, jax.random.fold_in(key, i), part, step)
            return jax.tree.map(lambda a, b: a + b / parts, total, one), None

        cut = jax.tree.map(partial(_cut, parts), batch)
        shapes = jax.eval_shape(whole, params, frozen, key, jax.tree.map(lambda a: a[0], cut), step)
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return jax.lax.scan(add, zeros, (jnp.arange(parts), cut))[0]

    return whole if parts == 1 else accumulated


def _updates(second, parts):
    """`(state, key, batch) -> (learner, metrics, counts of skipped updates)`: the second learner's share of a step."""
    of_the_second = _metrics_and_grads(second.loss, parts)

    def train_second(state, key, batch):
        seen = state.frozen._replace(other=state.params)

        def update(learner, i):
            metrics, grads = of_the_second(learner.params, seen, jax.random.fold_in(key, i), batch, state.step)
            updates, opt_state = second.tx.update(grads, learner.opt_state, learner.params)
            learner = Learner(optax.apply_updates(learner.params, updates), opt_state)
            metrics = {**metrics, 'grad_norm': optax.tree.norm(grads)}
            return learner, (metrics, skip_bad_updates.counts(opt_state))

        learner, (metrics, skipped) = jax.lax.scan(update, state.second, jnp.arange(second.updates))
        metrics = {f'{second.name}_{name}': jnp.mean(values) for name, values in metrics.items()}
        return learner, metrics, skip_bad_updates.in_steps(skipped)

    return train_second


def _cut(parts, a):
    """`[B, ...]` as `[parts, B / parts, ...]`, each part with rows of every device, so that none has to move."""
    return jnp.swapaxes(a.reshape(-1, parts, *a.shape[1:]), 0, 1)
