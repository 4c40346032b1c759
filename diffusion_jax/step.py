"""One training step as a pure function."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from diffusion_jax.ema import Ema
from diffusion_jax.frozen import Freezing, fixed
from diffusion_jax.state import TrainState
from diffusion_jax.types import Key, LossFn, Metrics

_FIXED = fixed()
TrainStep = Callable[[TrainState, Key, Any], tuple[TrainState, Metrics]]


def make_train_step(
    loss_fn: LossFn, tx: optax.GradientTransformation, ema: Ema, freezing: Freezing = _FIXED
) -> TrainStep:
    """`(state, key, batch) -> (state, metrics)`; to be jitted with the state donated.

    `key` is the run's key, the same at every step: what a step draws follows from it and `state.step`. Metrics are the
    loss's own and `grad_norm`, before any clipping.
    """

    def train_step(state, key, batch):
        key = jax.random.fold_in(key, state.step)
        value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
        (_, metrics), grads = value_and_grad(state.params, state.frozen, key, batch, state.step)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        frozen = freezing.update(state.frozen, params, step)
        state = TrainState(step, params, ema(state.ema, params, state.step), opt_state, frozen)
        return state, {**metrics, 'grad_norm': optax.tree.norm(grads)}

    return train_step
