"""Traces of a few training steps for tensorboard's profiler (or ui.perfetto.dev), asked for by their number."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from diffusion_jax.workdir.paths import AnyPath


@contextlib.contextmanager
def profiled(
    train_step: Callable[..., Any], folder: AnyPath, start: int, at: int | None, steps: int
) -> Iterator[Callable[..., Any]]:
    """Yields the train step, whose calls for steps `at`, .., `at + steps - 1` are traced into `folder`.

    Each process has its own part of the folder, as each traces its own devices. A run that ends before the last of the
    steps keeps the trace so far.

    Args:
        train_step: `(state, key, batch) -> (state, metrics)`.
        folder: to be created.
        start: steps done before the first call.
        at: None for no trace.
        steps: how many.
    """
    if at is None:
        yield train_step
        return
    k, tracing = start, False

    def step(state, key, batch):
        nonlocal k, tracing
        k += 1
        if k == at:
            jax.block_until_ready(state)  # so that the trace begins with this step
            jax.profiler.start_trace(folder / f'process_{jax.process_index()}')
            tracing = True
        if not tracing:
            return train_step(state, key, batch)
        with jax.profiler.StepTraceAnnotation('train', step_num=k):
            done = train_step(state, key, batch)
        if k == at + steps - 1:
            jax.block_until_ready(done)
            jax.profiler.stop_trace()
            tracing = False
        return done

    try:
        yield step
    finally:
        if tracing:
            jax.profiler.stop_trace()
