"""What a training run is made of between two steps."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from diffusion_jax.types import Frozen, Key, Params

_NOTHING = Frozen()


class TrainState(NamedTuple):
    """A pytree; with the seed it determines the rest of the run."""

    step: Int[Array, '']  # number of steps done
    params: Params
    ema: Params
    opt_state: optax.OptState
    frozen: Frozen


def init_state(
    init: Callable[[Key], Params], tx: optax.GradientTransformation, frozen: Frozen = _NOTHING
) -> Callable[[Key], TrainState]:
    """A pure function `key -> TrainState` at step 0, to be jitted: `ema` starts as a copy of the parameters."""

    def create(key: Key) -> TrainState:
        params = init(key)
        ema = jax.tree.map(jnp.copy, params)
        return TrainState(jnp.zeros((), jnp.int32), params, ema, tx.init(params), frozen)

    return create
