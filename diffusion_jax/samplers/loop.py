"""The one loop: every sampler is a step, run by one `lax.scan` over a time grid."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from diffusion_jax.axes import as_times
from diffusion_jax.process import gaussian, per_key
from diffusion_jax.ranges import within
from diffusion_jax.types import Key, Sampler, Schedule


def sample(sampler: Sampler, key: Key, x: Shaped[Array, 'b ...'], times) -> Shaped[Array, 'b ...']:
    """Runs a sampler from x at times[0] to times[-1].

    Args:
        sampler: what one step does.
        key: one key `[]`, or one per sample `[B]`: then a sample does not depend on the batch it is drawn in.
        x: the start, `[B, ...]`; see `prior`.
        times: grid `[S + 1]`, S >= 1, of times in [0, inf), one of `diffusion_jax.times` (or its reverse, to encode).

    Raises:
        ValueError: for other times.
    """
    return _run(sampler, key, x, times, keep=lambda _: None)[0]


def trajectory(
    sampler: Sampler, key: Key, x: Shaped[Array, 'b ...'], times, keep: Callable[[Array], Array] = lambda x: x
) -> Shaped[Array, 's_plus_1 ...']:
    """The same run with every state kept, or what `keep` takes of it: `[S + 1, B, ...]`, the start first.

    The samplers and `times`, in [0, inf), are as there.
    """
    return jnp.concatenate([keep(x)[None], _run(sampler, key, x, times, keep)[1]])


def _run(sampler, key, x, times, keep):
    times = grid(times, x)

    def body(state, step):
        i, t, s = step
        after = sampler.step(fold_in(key, i), state, t, s)
        state = jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
        return state, keep(state.x)

    state, kept = jax.lax.scan(body, sampler.init(x), (jnp.arange(len(times) - 1), times[:-1], times[1:]))
    return state.x, kept


def grid(times, x: Shaped[Array, 'b ...']) -> Float[Array, ' s_plus_1']:
    """The times of a run from x, a vector; see `as_times` for its type.

    Raises:
        ValueError: for times that make no step, which would leave noise as it is, or are not in [0, inf).
    """
    if np.ndim(times) != 1 or len(times) < 2:
        raise ValueError(f'times must be a vector of at least 2; got shape {np.shape(times)}')
    within('[0, inf)', times=times)
    return as_times(times, x)


def fold_in(key: Key, data) -> Key:
    """`jax.random.fold_in` for one key or for one key per sample."""
    return jax.vmap(jax.random.fold_in, (0, None))(key, data) if key.ndim else jax.random.fold_in(key, data)


def noise(key: Key, x: Float[Array, 'b ...']) -> Float[Array, 'b ...']:
    """Standard normal noise like x `[B, ...]` from one key, or from one key per sample."""
    return per_key(lambda k, shape: jax.random.normal(k, shape, x.dtype), key, x.shape)


def prior(key: Key, schedule: Schedule, shape: tuple[int, ...], t_max: float) -> Float[Array, 'b ...']:
    """Start of a reverse process, sigma(t_max) eps: `shape` is `(B, ...)`, `key` one key or one per sample.

    Raises:
        ValueError: t_max is not in (0, inf).
    """
    within('(0, inf)', t_max=t_max)
    return gaussian(schedule, t_max).prior(key, shape)
