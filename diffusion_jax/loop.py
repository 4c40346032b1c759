"""The training loop: dispatches ahead of the device and reads metrics some steps late, so as never to wait for them."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.state import TrainState
from diffusion_jax.step import TrainStep
from diffusion_jax.types import Key

AHEAD = 8  # steps in flight: enough to hide the host, few enough to bound memory and to notice a NaN soon


class Hooks(NamedTuple):
    """What happens beside the steps. The step given is the number of steps done."""

    log: Callable[[int, dict[str, float]], None]  # means over the last `every.log` steps
    save: Callable[[TrainState], None]
    draw: Callable[[int, TrainState], None]
    stop: Callable[[int], int]  # asked after every step: 0 to go on, or the exit code with which to stop
    beat: Callable[[], None]  # called whenever something was finished


class Every(NamedTuple):
    """Periods in steps; 0 is never."""

    log: int
    save: int
    draw: int


def fit(
    train_step: TrainStep, state: TrainState, key: Key, batches: Iterator[Any], steps: int, every: Every, hooks: Hooks
) -> TrainState:
    """Trains from `state.step` to `steps`; `batches` yields the batch of that step first.

    Raises:
        UserError: at a metric that is not finite, or weights to be saved. Nothing from that step on is saved.
        Interrupted: when `hooks.stop()` says so, after saving.
    """
    pending: deque = deque()
    window: list[dict[str, float]] = []

    def fetch(until: int) -> None:
        while len(pending) > until:
            k, metrics = pending.popleft()
            values = {name: float(value) for name, value in jax.device_get(metrics).items()}
            _check_finite(k, values)
            window.append(values)
            if (every.log and k % every.log == 0) or k == steps:
                hooks.log(k, {name: float(np.mean([w[name] for w in window])) for name in values})
                window.clear()

    for k in range(int(state.step) + 1, steps + 1):
        state, metrics = train_step(state, key, next(batches))
        pending.append((k, metrics))
        fetch(until=AHEAD)
        hooks.beat()
        stopped = hooks.stop(k)
        if (every.save and k % every.save == 0) or k == steps or stopped:
            fetch(until=0)
            _check_weights(k, state.params)
            hooks.save(state)
            hooks.beat()
        if stopped and k < steps:
            raise Interrupted(f'stopped at step {k} of {steps}; saved. Run the same command again to go on.', stopped)
        if (every.draw and k % every.draw == 0) or k == steps:
            fetch(until=0)
            hooks.draw(k, state)
            hooks.beat()
    return state


def _check_finite(k, values):
    if not all(np.isfinite(v) for v in values.values()):
        raise _diverged(k, ', '.join(f'{name}={value:.4g}' for name, value in values.items()))


def _check_weights(k, params):
    # The metrics of a step are those of the weights before it.
    if not _finite(params):
        raise _diverged(k, 'weights that are not finite')


@jax.jit
def _finite(params):
    return jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda a: jnp.isfinite(a).all(), params), jnp.array(True))


def _diverged(k, shown):
    return UserError(
        f'step {k}: {shown}. Stopped; checkpoints from before it are kept. '
        'Lower optim.lr, lengthen optim.warmup or set optim.clip, and go on with --allow_config_change.'
    )
