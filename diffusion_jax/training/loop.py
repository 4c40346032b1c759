"""The training loop: dispatches ahead of the device and reads metrics some steps late, so as never to wait for them."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.errors import Diverged, Interrupted
from diffusion_jax.training.state import TrainState
from diffusion_jax.training.step import TrainStep
from diffusion_jax.training.throughput import Clock, Timing
from diffusion_jax.types import Key

AHEAD = 8  # steps in flight: enough to hide the host, few enough to bound memory and to notice a NaN soon


def _nothing_kept(state):
    """Of a run that keeps no snapshots."""


class Hooks(NamedTuple):
    """What happens beside the steps. The step given is the number of steps done."""

    log: Callable[[int, dict[str, float], Timing], None]  # means over the steps since the last call
    save: Callable[[TrainState, dict[str, float]], None]  # with means over the steps since the last save
    draw: Callable[[int, TrainState], None]
    stop: Callable[[int], int]  # asked after every step: 0 to go on, or the exit code with which to stop
    beat: Callable[[], None]  # called whenever something was finished
    keep: Callable[[TrainState], None] = _nothing_kept  # a snapshot of the averages


class Every(NamedTuple):
    """Periods in steps; 0 is never."""

    log: int
    save: int
    draw: int
    keep: int = 0


def fit(
    train_step: TrainStep,
    state: TrainState,
    key: Key,
    batches: Iterator[Any],
    steps: int,
    every: Every,
    hooks: Hooks,
    max_skips: int = 0,
) -> TrainState:
    """Trains from `state.step` to `steps`; `batches` yields the batch of that step first.

    A step whose metrics tell that its update was left out (see `spikes.counts`) enters no mean: it is counted.

    Raises:
        Diverged: at a metric that is not finite, or weights to be saved, or after more than `max_skips` steps in a row
            whose update was left out. Nothing from that step on is saved.
        Interrupted: when `hooks.stop()` says so, after saving.
    """
    pending: deque = deque()
    window: list[dict[str, float]] = []
    since_save: Counter = Counter()  # sums of the metrics, and the number of steps
    clock = Clock(int(state.step))

    def fetch(until: int) -> None:
        while len(pending) > until:
            k, metrics = pending.popleft()
            values = {name: float(value) for name, value in jax.device_get(metrics).items()}
            skipped = {'skipped': values.pop('skipped')} if 'skipped' in values else {}
            if _updated(k, values, values.pop('skipped_in_a_row', 0), max_skips):
                window.append(values)
                since_save.update(values, steps=1)
            if (every.log and k % every.log == 0) or k == steps:
                means = {name: float(np.mean([w[name] for w in window])) for name in values if window}
                hooks.log(k, {**means, **skipped}, clock.lap(k))
                window.clear()

    for k in range(int(state.step) + 1, steps + 1):
        with clock.waiting():
            batch = next(batches)
        state, metrics = train_step(state, key, batch)
        pending.append((k, metrics))
        fetch(until=AHEAD)
        hooks.beat()
        stopped = hooks.stop(k)
        keeps = every.keep and (k % every.keep == 0 or k == steps)
        saves = (every.save and k % every.save == 0) or k == steps or stopped
        if keeps or saves:
            fetch(until=0)
            _check_weights(k, (state.params, state.second and state.second.params))
        if keeps:
            with clock.beside():
                hooks.keep(state)
            hooks.beat()
        if saves:
            n = since_save.pop('steps', 0)
            with clock.beside():
                hooks.save(state, {name: total / n for name, total in since_save.items()})
            since_save.clear()
            hooks.beat()
        if stopped and k < steps:
            raise Interrupted(f'stopped at step {k} of {steps}; saved. Run the same command again to go on.', stopped)
        if (every.draw and k % every.draw == 0) or k == steps:
            fetch(until=0)
            with clock.beside():
                hooks.draw(k, state)
            hooks.beat()
    return state


def _updated(k, values, in_a_row, max_skips):
    """Whether this step made an update, if all is well with it."""
    shown = ', '.join(f'{name}={value:.4g}' for name, value in values.items())
    if in_a_row > max_skips:
        raise _diverged(k, f'{shown}, the last of {in_a_row:.0f} steps skipped in a row (train.max_skips)')
    if not in_a_row and not all(np.isfinite(v) for v in values.values()):
        raise _diverged(k, shown)
    return not in_a_row


def _check_weights(k, params):
    # The metrics of a step are those of the weights before it.
    if not _finite(params):
        raise _diverged(k, 'weights that are not finite')


@jax.jit
def _finite(params):
    return jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda a: jnp.isfinite(a).all(), params), jnp.array(True))


def _diverged(k, shown):
    return Diverged(
        f'step {k}: {shown}. Stopped; checkpoints from before it are kept. '
        'Lower optim.lr, lengthen optim.warmup, set optim.clip or train.max_skips; go on with --allow_config_change.'
    )
