"""A whole training run: data, mesh, checkpoints and loop put together."""

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from diffusion_jax import build, checkpoint, distributed, loop, pictures, sharding, workdir
from diffusion_jax.data import pipeline
from diffusion_jax.errors import UserError
from diffusion_jax.generate import generate
from diffusion_jax.logs import Log
from diffusion_jax.state import TrainState, init_state
from diffusion_jax.step import make_train_step
from diffusion_jax.watchdog import watchdog

PREEMPTED = 128 + signal.SIGTERM  # the exit code of a run that saved because it was told to end


def train(config: Mapping[str, Any], folder: Path, allow_config_change: bool = False) -> TrainState:
    """Trains the run of a resolved config in `folder`, from its newest checkpoint on; returns the final state.

    Raises:
        UserError: for a config or folder that cannot be used, a loss that is not finite, a save that failed.
        Interrupted: for Ctrl-C or SIGTERM, after saving.
    """
    settings = config['train']
    mesh = sharding.make_mesh(config['mesh']['data'], config['mesh']['fsdp'])
    sharding.check_batch(mesh, settings['batch_size'], 'train.batch_size', settings['parts'])
    config = build.with_teacher(config, folder)
    experiment = build.build(config)
    draw = jax.jit(build.build_draw(experiment, config['sample']))
    trace = build.build_trace(experiment, config['sample'])
    # Before anything is written; a run that has begun needs it only if it never came to save.
    begun = (folder / 'config.json').exists()
    start_from = None if begun else _start(config, experiment, mesh)
    workdir.check(folder, config, allow_config_change)

    key_init, key_train, key_sample = jax.random.split(jax.random.key(config['seed']), 3)
    fresh = init_state(experiment.init, experiment.tx, experiment.freezing, experiment.keeps_teacher)
    shapes = jax.eval_shape(fresh, key_init, None if config['init_from'] is None else _network(experiment, mesh))
    shardings = sharding.of_state(mesh, shapes)
    create = jax.jit(fresh, out_shardings=shardings)

    def draw_samples(step, state):
        num, size = config['sample']['num'], config['sample']['batch_size']
        x = generate(draw, state.ema, key_sample, num, size, mesh, experiment.num_classes, trace=trace)
        if distributed.is_first():
            pictures.save(folder / 'samples' / f'step_{step:08d}.png', x)

    with workdir.lock(folder), contextlib.closing(checkpoint.open_manager(folder, settings['keep'])) as manager:
        state = checkpoint.restore(manager, sharding.with_shardings(shapes, shardings))
        if state is None:
            state = create(key_init, start_from or _start(config, experiment, mesh))
        # Only now, so that a config whose model does not fit the checkpoints leaves the saved one alone.
        distributed.together('begun')
        workdir.record(folder, config)
        start = int(state.step)
        train_step = make_train_step(
            experiment.loss, experiment.tx, experiment.ema, experiment.freezing, settings['parts']
        )
        # The state comes out as it goes in, so that the second step needs no other executable.
        step = jax.jit(train_step, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))
        every = loop.Every(settings['log_every'], settings['save_every'], settings['sample_every'])
        with (
            _log(folder, start, settings) as write,
            _stop() as stop,
            watchdog(settings['watchdog']) as beat,
            contextlib.closing(_batches(experiment.source, config, start, mesh)) as stream,
        ):
            hooks = loop.Hooks(write, lambda state: checkpoint.save(manager, state), draw_samples, stop, beat)
            try:
                state = loop.fit(step, state, key_train, stream, settings['steps'], every, hooks)
            finally:
                checkpoint.wait(manager)
    return state


@contextlib.contextmanager
def _log(folder, start, settings):
    if not distributed.is_first():
        yield lambda step, metrics: None
        return
    with Log(folder, start, settings['steps'], settings['batch_size']) as log:
        yield log.write


def _batches(source, config, start, mesh):
    size = config['train']['batch_size']
    raw = pipeline.batches(source, config['seed'], size, start, jax.process_index(), jax.process_count())
    with contextlib.closing(raw):
        for batch in raw:
            yield sharding.put_batch(mesh, batch)


def _network(experiment, mesh):
    shapes = jax.eval_shape(experiment.network_init, jax.random.key(0))
    return sharding.with_shardings(shapes, sharding.of_state(mesh, shapes))


def _start(config, experiment, mesh):
    """The averaged parameters of the run that this one starts from, None for none."""
    if config['init_from'] is None:
        return None
    try:
        return checkpoint.restore_ema(Path(config['init_from']), _network(experiment, mesh))[0]
    except UserError as error:
        raise UserError(f'config.init_from: {error}') from error


@contextlib.contextmanager
def _stop():
    """Yields a function of the step that gives the exit code for which to stop, 0 to go on.

    The first Ctrl-C or SIGTERM stops after the steps in flight; a second Ctrl-C ends the program at once.
    """
    if distributed.many():
        # JAX has a handler of SIGTERM of its own, by which all processes agree on the step; Ctrl-C is led to it.
        before = {signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))}
        reached = multihost_utils.reached_preemption_sync_point
        stop = lambda k: PREEMPTED if reached(k) else 0  # noqa: E731
    else:
        received = []

        def handle(number, _frame):
            received.append(number)
            # print may not be re-entered
            os.write(2, b'\nstopping after the steps in flight; Ctrl-C again stops at once, unsaved\n')
            signal.signal(signal.SIGINT, before[signal.SIGINT])

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        stop = lambda _: 128 + received[0] if received else 0  # noqa: E731
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
