"""What a training run is made of between two steps."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from diffusion_jax.optim.targets import Targets, fixed
from diffusion_jax.types import Frozen, Key, Params, SecondLearner

_FIXED = fixed()


class Learner(NamedTuple):
    """Parameters and the state of the optimiser that trains them."""

    params: Params
    opt_state: optax.OptState


class TrainState(NamedTuple):
    """A pytree; with the seed it determines the rest of the run."""

    step: Int[Array, '']  # number of steps done
    params: Params
    ema: Params
    opt_state: optax.OptState
    frozen: Frozen
    tracks: tuple[Params, ...] = ()  # averages of other lengths, of which snapshots are kept
    second: Learner | None = None  # of an objective with a second learner


def init_state(
    init: Callable[[Key], Params],
    tx: optax.GradientTransformation,
    freezing: Targets = _FIXED,
    tracks: int = 0,
    second: SecondLearner | None = None,
) -> Callable[..., TrainState]:
    """A pure function `(key, start=None, teacher=None) -> TrainState` at step 0, to be jitted; `ema` is as `params`.

    `start` holds another run's parameters, some of them None, which replace those of `init` of the same paths;
    `teacher` those of the teacher to be kept, which may be the same. As many `tracks` are as `params` as well.
    """

    def create(key: Key, start: Params | None = None, teacher: Params | None = None) -> TrainState:
        key, learner = (key, None) if second is None else _begin(second, key, teacher)
        given = {str(path): a for path, a in jax.tree_util.tree_leaves_with_path(start)}
        params = jax.tree_util.tree_map_with_path(lambda path, a: given.get(str(path), a), init(key))
        ema, teacher = jax.tree.map(jnp.copy, (params, teacher))
        copies = tuple(jax.tree.map(jnp.copy, params) for _ in range(tracks))
        frozen = freezing.init(params, teacher)
        return TrainState(jnp.zeros((), jnp.int32), params, ema, tx.init(params), frozen, copies, learner)

    return create


def _begin(second, key, teacher):
    """The key that is left, and the second learner at step 0."""
    key, key_second = jax.random.split(key)
    params = jax.tree.map(jnp.copy, second.init(key_second, teacher))
    return key, Learner(params, second.tx.init(params))
