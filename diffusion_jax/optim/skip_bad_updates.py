"""Updates left out: those of gradients that are not finite, or far larger than they usually are."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from diffusion_jax.types import Metrics

_ENDLESS = 2**31 - 2  # the loop stops the run; an update that is not finite is never taken


class UsualNorm(NamedTuple):
    """The gradient norm as it usually is."""

    mean: Float[Array, '']  # moving average from 0, divided by 1 - decay^count where it is used
    count: Int[Array, '']  # of norms in it


def skipping(
    tx: optax.GradientTransformation, spike: float = jnp.inf, decay: float = 0.99, settled: int = 100
) -> optax.GradientTransformation:
    """An optimiser that leaves out bad updates: parameters and optimiser stay as they were, learning rates included.

    Args:
        tx: the optimiser; a learning rate that it schedules counts the updates that were made.
        spike: an update is left out as well if the norm of its gradient is more than this times the usual one.
        decay: of the moving average that is the usual one; norms that are left out do not enter it.
        settled: as many norms it must have seen before any is called a spike.
    """
    # apply_if_finite leaves out and counts; all that is left is to show it a spike as what it knows.
    return optax.chain(_void_spikes(spike, decay, settled), optax.apply_if_finite(tx, _ENDLESS))


def counts(opt_state: optax.OptState) -> Metrics:
    """Steps skipped so far, and up to this one in a row; empty for an optimiser that skips none."""
    total = optax.tree.get(opt_state, 'total_notfinite')
    if total is None:
        return {}
    return {'skipped': total, 'skipped_in_a_row': optax.tree.get(opt_state, 'notfinite_count')}


def in_steps(counts: Metrics) -> Metrics:
    """Counts `[n]`, after each of the n updates of a step, as the step's.

    In a row are steps, each of n updates: 0 only if none of this one was left out.
    """
    if not counts:
        return {}
    in_a_row = counts['skipped_in_a_row']
    return {'skipped': counts['skipped'][-1], 'skipped_in_a_row': -(-jnp.max(in_a_row) // len(in_a_row))}


def of_both(a: Metrics, b: Metrics) -> Metrics:
    """Counts of two learners, one of them perhaps without any, as one: all that was skipped, the longest row."""
    if not (a and b):
        return a or b
    longest = jnp.maximum(a['skipped_in_a_row'], b['skipped_in_a_row'])
    return {'skipped': a['skipped'] + b['skipped'], 'skipped_in_a_row': longest}


def bare(opt_state: optax.OptState) -> optax.OptState:
    """The state of the optimiser that `skipping` was given, out of that of what it returned."""
    return cast(tuple[UsualNorm, optax.ApplyIfFiniteState], opt_state)[1].inner_state


def around(opt_state: optax.OptState) -> optax.OptState:
    """The state of `skipping` an optimiser that is in this state, and has skipped nothing so far."""

    def init(params: optax.Params) -> optax.OptState:
        del params
        return opt_state

    return skipping(optax.GradientTransformation(init, optax.identity().update)).init(())


def _void_spikes(spike, decay, settled):
    def init(params):
        del params
        return UsualNorm(jnp.zeros(()), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        norm = optax.tree.norm(updates)
        usual = state.mean / (1 - decay ** jnp.maximum(state.count, 1))
        is_spike = (state.count >= settled) & (norm > spike * usual)
        counted = UsualNorm(decay * state.mean + (1 - decay) * norm, state.count + 1)
        ordinary = jnp.isfinite(norm) & ~is_spike
        state = jax.tree.map(lambda new, old: jnp.where(ordinary, new, old), counted, state)
        return jax.tree.map(lambda g: jnp.where(is_spike, jnp.nan, g), updates), state

    return optax.GradientTransformation(init, update)
