"""A whole training run: data, mesh, checkpoints and loop put together."""

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.experimental import multihost_utils

from diffusion_jax import builders
from diffusion_jax.data import pipeline
from diffusion_jax.devices import processes, sharding
from diffusion_jax.errors import UserError, nearest
from diffusion_jax.inference import media, runs
from diffusion_jax.inference.generate import Drawing, generate
from diffusion_jax.optim import skip_bad_updates
from diffusion_jax.training import checkpoint, loop, throughput
from diffusion_jax.training.assemble import assemble, shapes_of
from diffusion_jax.training.logs import Log
from diffusion_jax.training.profile import profiled
from diffusion_jax.training.state import TrainState
from diffusion_jax.training.watchdog import watchdog
from diffusion_jax.workdir import files, paths, reading
from diffusion_jax.workdir.paths import AnyPath

PREEMPTED = 128 + signal.SIGTERM  # the exit code of a run that saved because it was told to end


def _unwatched(run):
    """Of a training that nobody watches."""


def train(
    config: Mapping[str, Any],
    workdir: AnyPath,
    allow_config_change: bool = False,
    watch: Callable[[runs.Run], None] = _unwatched,
) -> TrainState:
    """Trains the run of a resolved config in `workdir`, from its newest checkpoint on; returns the final state.

    `watch` is given the run as it is every `train.sample_every` steps and at the end; what it raises ends training.

    Raises:
        UserError: for a config or workdir that cannot be used, a loss that is not finite, a save that failed.
        Interrupted: for Ctrl-C or SIGTERM, after saving.
    """
    settings = config['train']
    mesh = sharding.make_mesh(config['mesh']['data'], config['mesh']['fsdp'])
    sharding.check_batch(mesh, settings['batch_size'], 'train.batch_size', settings['accumulate'])
    config = builders.with_teacher(config, workdir)
    experiment = builders.build(config)
    show = _shows(experiment, config['sample'], mesh, workdir / 'samples') if experiment.draws else _shows_nothing
    # Before anything is written; a run that has begun needs it only if it never came to save.
    (begun,) = processes.from_first([(workdir / 'config.json').exists()])
    if not begun:
        builders.check_splits(config)
    start_from = None if begun else _start(config, experiment, mesh)
    create, shapes, step = assemble(config, experiment, mesh)
    key_init, key_train, key_sample = jax.random.split(jax.random.key(config['seed']), 3)
    _check_best_by(settings, step, shapes, key_train, experiment.source)
    files.check(workdir, config, allow_config_change, lambda saved: _completed(saved, settings))

    def draw_samples(step, state):
        show(step, state.ema, key_sample)
        watch(runs.Run(dict(config), experiment, state.ema, step, mesh))

    with files.lock(workdir), contextlib.closing(checkpoint.open_manager(workdir, _keep(settings))) as manager:
        state = _restored(manager, shapes, mesh, settings)
        if state is None:
            state = create(key_init, *experiment.taken(start_from or _start(config, experiment, mesh)))
        done = int(state.step)
        if done > settings['steps']:
            raise UserError(
                f'config.train.steps={settings["steps"]}, and {workdir} has done {done}: use {done} or more'
            )
        # Only now, so that a config whose model does not fit the checkpoints leaves the saved one alone.
        processes.together('begun')
        files.record(workdir, config)
        if done == settings['steps'] and begun and processes.is_first():
            print(f'{workdir} has done its {done} steps: there is nothing left to train', file=sys.stderr)
        if done == settings['steps']:
            return state
        return _fit(step, state, key_train, experiment, config, workdir, mesh, manager, draw_samples)


def _shows(experiment, spec, mesh, folder):
    """What keeps pictures of a run's samples as they are at a step: (step, parameters, key)."""
    draw = jax.jit(builders.build_draw(experiment, spec))
    find_non_finite = builders.build_find_non_finite(experiment, spec)

    def show(step, params, key):
        x = generate(Drawing(draw, params, mesh, spec['batch_size'], find_non_finite), key, spec['num'])
        if processes.is_first():
            media.save(folder / f'step_{step:08d}', experiment.source.kind, x)

    return show


def _shows_nothing(step, params, key):
    """Of a run that has no samples."""


def _fit(step, state, key, experiment, config, workdir, mesh, manager, draw_samples):
    settings, start = config['train'], int(state.step)
    every = loop.Every(*(settings[f'{name}_every'] for name in ('log', 'save', 'sample', 'ema')))
    about = {'config': config, 'provenance': files.provenance()}

    def save(state, metrics):
        checkpoint.save(manager, state, metrics, about)

    with (
        contextlib.closing(_batches(experiment.source, config, start, mesh)) as stream,
        _stop() as stop,
        watchdog(settings['watchdog']) as beat,
        _snapshots(workdir, settings, start) as keep,
    ):
        first = next(stream)
        step, cost = throughput.compile_step(step, state, key, first, devices=mesh.size)
        with _log(workdir, start, settings, cost, mesh) as write, _profiled(step, workdir, start, settings) as step:
            hooks = loop.Hooks(write, save, draw_samples, stop, beat, keep)
            batches, max_skips = itertools.chain([first], stream), settings['max_skips'] or 0
            try:
                return loop.fit(step, state, key, batches, settings['steps'], every, hooks, max_skips)
            finally:
                checkpoint.wait(manager)


@contextlib.contextmanager
def _snapshots(workdir, settings, start):
    """Yields what keeps a snapshot of the tracks of a state."""
    if not settings['ema_every']:
        yield lambda state: None
        return
    with contextlib.closing(checkpoint.open_snapshots(workdir, start)) as manager:
        try:
            yield lambda state: checkpoint.save_snapshot(manager, state, settings['ema_tracks'])
        finally:
            checkpoint.wait(manager)


def _check_best_by(settings, train_step, shapes, key, source):
    if settings['keep_best']:  # else it costs the tracing of a step for nothing
        batch = pipeline.batch_at(source, 0, settings['batch_size'])(0)
        known = jax.eval_shape(train_step, shapes, key, batch)[1]
        if settings['best_by'] not in known:
            name = settings['best_by']
            raise UserError(f'config.train.best_by={name!r} is no metric of this run; {nearest(name, known)}')


def _completed(saved, settings):
    try:
        saved = builders.check(saved)
    except UserError:
        return saved  # by a version with other fields, which the difference shall show
    # Where a run is traced is not what it is.
    return {**saved, 'train': {**saved['train'], **{name: settings[name] for name in ('profile_at', 'profile_steps')}}}


def _restored(manager, shapes, mesh, settings):
    """The newest state, also of a run that had no `max_skips` and has it now, or the other way round."""
    _check_tracks(manager, settings)
    skips = settings['max_skips'] is not None
    skipped = checkpoint.about(manager).get('config', {}).get('train', {}).get('max_skips') is not None
    if skips == skipped or manager.latest_step() is None:
        return checkpoint.restore(manager, sharding.with_shardings(shapes, sharding.of_state(mesh, shapes)))
    both = skip_bad_updates.bare, skip_bad_updates.around
    undo, do = both if skips else both[::-1]
    saved = jax.eval_shape(lambda s: _of_each_optimiser(undo, s), shapes)
    state = checkpoint.restore(manager, sharding.with_shardings(saved, sharding.of_state(mesh, saved)))
    return state and jax.device_put(_of_each_optimiser(do, state), sharding.of_state(mesh, shapes))


def _of_each_optimiser(change, state):
    """The state with those of its optimisers changed."""
    second = state.second and state.second._replace(opt_state=change(state.second.opt_state))
    return state._replace(opt_state=change(state.opt_state), second=second)


def _check_tracks(manager, settings):
    """An average that was not kept from the first step on cannot be made up for."""
    if manager.latest_step() is None or not settings['ema_every']:
        return
    saved = checkpoint.about(manager).get('config', {}).get('train', {})
    before = [*saved.get('ema_tracks', ())] if saved.get('ema_every') else []
    if before != [*settings['ema_tracks']]:
        had = ', '.join(map(str, before)) or 'none'
        raise UserError(
            f'config.train.ema_tracks: averages begin with a run, and this one has kept {had}: set '
            'config.train.ema_every=0, or train anew in another --workdir'
        )


def _keep(settings):
    return checkpoint.Keep(settings['keep'], settings['keep_every'], settings['keep_best'], settings['best_by'])


@contextlib.contextmanager
def _log(workdir, start, settings, cost, mesh):
    if not processes.is_first():
        yield lambda step, metrics, timing: None
        return
    local, begin = jax.local_devices(), iter([throughput.once(cost)])

    with paths.appended(workdir, 'metrics.jsonl') as (near, copy), Log(near, start, settings['steps']) as log:

        def write(step, metrics, timing):
            found = throughput.figures(timing, cost, settings['batch_size'], local[0].device_kind, mesh.size)
            memory = throughput.memory([d.memory_stats() for d in local])
            log.write(step, {**metrics, **found, **memory, **next(begin, {})})
            copy()

        yield write


def _profiled(step, workdir, start, settings):
    return profiled(step, workdir / 'profile', start, settings['profile_at'], settings['profile_steps'])


def _batches(source, config, start, mesh):
    size = config['train']['batch_size']
    raw = pipeline.batches(source, config['seed'], size, start, jax.process_index(), jax.process_count())
    with contextlib.closing(raw):
        for batch in raw:
            yield sharding.put_batch(mesh, batch)


def _start(config, experiment, mesh):
    """The averaged parameters of the run that this one starts from, or some of them; None for none."""
    if config['init_from'] is None:
        return None
    workdir, partial, which = paths.parse(config['init_from']), config['init_partial'], config['init_step']
    try:
        best_by = builders.check(files.load_config(workdir))['train']['best_by']
        if partial is None:
            return reading.restore_ema(workdir, shapes_of(experiment.start_init, mesh), which, best_by)[0]
        taken = reading.restore_matching(workdir, shapes_of(experiment.init, mesh), partial, which, best_by)
        if processes.is_first():
            print(_told(taken, workdir), file=sys.stderr)
        return taken.params
    except UserError as error:
        raise UserError(f'config.init_from: {error}') from error


def _told(taken, workdir):
    num = len(jax.tree.leaves(taken.params))
    names = ', '.join(taken.left[:8]) + (f' and {len(taken.left) - 8} more' if len(taken.left) > 8 else '')
    left = f'; initialised from the seed: {names}' if taken.left else ''
    return f'{num} of {num + len(taken.left)} arrays are from step {taken.step} of {workdir}{left}'


@contextlib.contextmanager
def _stop():
    """Yields a function of the step that gives the exit code for which to stop, 0 to go on.

    The first Ctrl-C or SIGTERM stops after the steps in flight; a second Ctrl-C ends the program at once.
    """
    if processes.many():
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
