"""Sampling in parallel over time: ParaDiGMS (arXiv 2305.16317)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffusion_jax.ranges import whole, within
from diffusion_jax.samplers.loop import fold_in, grid
from diffusion_jax.types import Key, Sampler


class Parallel(NamedTuple):
    """Samples, and what they cost one after another."""

    x: Float[Array, 'b ...']
    evaluations: Int[Array, '']  # of the sampler's step, each for the whole window at once


class _Window(NamedTuple):
    x: Float[Array, 'w_plus_1 b ...']  # the guesses at times[start], ..., times[start + w]
    start: Int[Array, '']
    done: Int[Array, '']  # x at times[done] is final
    evaluations: Int[Array, '']


def parallel(
    sampler: Sampler, key: Key, x: Float[Array, 'b ...'], times, window: int, tolerance: float | Float[Array, ''] = 1e-3
) -> Parallel:
    """The run of `samplers.sample` by Picard iterations over a sliding window (arXiv 2305.16317, algorithm 1).

    x_{i+1} = x_i + d_i, with the increment d_i = step_i(x_i) - x_i, is solved for a window of times at once: every
    iteration evaluates the step at all of its guesses in one batch of `window` B samples and sums up the increments.
    The noise of step i is a function of the key and i alone, so a stochastic sampler has its noise drawn beforehand.

    The window moves on over the points whose root mean square moved by no more than `tolerance` times their own, in
    every sample of the batch (the paper scales by the noise level), and always over the first, which is exact: with
    a tolerance of 0 the result is that of `samplers.sample` up to rounding, and never are there more than S iterations.

    Args:
        sampler: any without memory, `ddim` or `ancestral` say.
        key: as in `samplers.sample`.
        x: the start, `[B, ...]`.
        times: grid `[S + 1]`.
        window: in [1, inf), how many steps to run at once; more than S is S.
        tolerance: relative change at which a point counts as converged, in [0, inf).

    Raises:
        ValueError: for a sampler with memory, or an argument outside of its range.
    """
    whole('[1, inf)', window=window)
    within('[0, inf)', tolerance=tolerance)
    times = grid(times, x)
    S = len(times) - 1
    w = min(window, S)
    if len(jax.tree.leaves(jax.eval_shape(sampler.init, x))) > 1:
        raise ValueError('a parallel run needs a sampler without memory of its earlier steps')
    offsets = jnp.arange(w)

    def increment(i, x):
        return sampler.step(fold_in(key, i), sampler.init(x), times[i], times[i + 1]).x - x

    def iterate(state):
        first = state.done - state.start
        d = jax.vmap(increment)(state.start + offsets, state.x[:-1])
        d = jnp.where(_like(offsets >= first, d), d, 0)
        new = state.x[first][None] + jnp.cumsum(d, 0)  # at start + 1, ..., start + w
        new = jnp.where(_like(offsets >= first, d), new, state.x[1:])
        event = tuple(range(2, d.ndim))
        change, size = (jnp.sqrt(jnp.mean(a**2, event)) for a in (new - state.x[1:], new))
        still = jnp.all(change <= tolerance * size, 1) | (offsets <= first)
        done = state.start + jnp.sum(jnp.cumprod(still))
        start = jnp.minimum(done, S - w)
        # Points that enter the window start from the last one in it.
        points = jnp.concatenate([state.x[:1], new])[jnp.minimum(jnp.arange(w + 1) + start - state.start, w)]
        return _Window(points, start, done, state.evaluations + 1)

    zero = jnp.zeros((), int)
    state = _Window(jnp.broadcast_to(x, (w + 1, *x.shape)), zero, zero, zero)
    state = jax.lax.while_loop(lambda state: state.done < S, iterate, state)
    return Parallel(state.x[-1], state.evaluations)


def _like(mask, x):
    return mask.reshape(-1, *(1,) * (x.ndim - 1))
