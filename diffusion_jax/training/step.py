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
from diffusion_jax.training.state import TrainState
from diffusion_jax.types import Key, LossFn, Metrics

_FIXED = fixed()
TrainStep = Callable[[TrainState, Key, Any], tuple[TrainState, Metrics]]


def make_train_step(
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    ema: Ema,
    freezing: Targets = _FIXED,
    parts: int = 1,
    tracks: Sequence[Ema] = (),
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
    """
    value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)

    def metrics_and_grads(state, key, batch):
        (_, metrics), grads = value_and_grad(state.params, state.frozen, key, batch, state.step)
        return metrics, grads

    def accumulated(state, key, batch):
        def add(total, i_and_part):
            i, part = i_and_part
            one = metrics_and_grads(state, jax.random.fold_in(key, i), part)
            return jax.tree.map(lambda a, b: a + b / parts, total, one), None

        cut = jax.tree.map(partial(_cut, parts), batch)
        shapes = jax.eval_shape(metrics_and_grads, state, key, jax.tree.map(lambda a: a[0], cut))
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return jax.lax.scan(add, zeros, (jnp.arange(parts), cut))[0]

    compute = metrics_and_grads if parts == 1 else accumulated

    def train_step(state, key, batch):
        key = jax.random.fold_in(key, state.step)
        metrics, grads = compute(state, key, batch)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        frozen = freezing.update(state.frozen, params, step)
        pairs = zip(tracks, state.tracks, strict=True)
        others = tuple(average(track, params, state.step) for average, track in pairs)
        state = TrainState(step, params, ema(state.ema, params, state.step), opt_state, frozen, others)
        return state, {**metrics, 'grad_norm': optax.tree.norm(grads), **skip_bad_updates.counts(opt_state)}

    return train_step


def _cut(parts, a):
    """`[B, ...]` as `[parts, B / parts, ...]`, each part with rows of every device, so that none has to move."""
    return jnp.swapaxes(a.reshape(-1, parts, *a.shape[1:]), 0, 1)
