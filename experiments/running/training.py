"""A run to train, and what became of it: training.json and result.json in its workdir."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from diffusion_jax import builders
from diffusion_jax.devices import processes
from diffusion_jax.errors import Diverged, Interrupted, UserError, one_line
from diffusion_jax.training.run import train
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath
from experiments.running import measuring


class Training(NamedTuple):
    """A run to train. It starts from the run in `config['init_from']`, if there is one."""

    name: str
    config: dict[str, Any]  # resolved, with the overrides
    workdir: AnyPath
    overrides: Mapping[str, Any] = {}  # what they changed: dotted field -> value


class State(NamedTuple):
    """What became of a training."""

    seconds: float = 0.0  # of CPU in all its starts, compilation included: other jobs on the machine do not count
    done: bool = False
    diverged: str | None = None  # why: a result as well
    error: str | None = None  # why it was not trained, or not measured


def state_of(workdir: AnyPath) -> State:
    """What became of the training in a workdir so far."""
    return State(**files.read_json(workdir / 'training.json', {}))


def result_of(workdir: AnyPath) -> measuring.Measured | None:
    """What was measured of the run in a workdir, None if nothing was yet."""
    return measuring.read(workdir / 'result.json')


def is_trained(training: Training) -> bool:
    """Whether a run is trained, or has diverged."""
    return state_of(training.workdir).done


def is_measured(training: Training) -> bool:
    """Whether a run is trained and measured, or has diverged."""
    return result_of(training.workdir) is not None or state_of(training.workdir).diverged is not None


def note(training: Training, state: State) -> None:
    """Writes what became of a training; of several processes the first does it."""
    if processes.is_first():
        training.workdir.mkdir(parents=True, exist_ok=True)
        files.write_json(training.workdir / 'training.json', state._asdict())


def forget_error(training: Training) -> None:
    """Takes away why a run failed, as it is tried again."""
    state = state_of(training.workdir)
    if state.error:
        note(training, state._replace(error=None))


def note_error(training: Training, error: str) -> None:
    """Notes why a process ended that was to make a run, unless it did so itself."""
    state = state_of(training.workdir)
    if not state.error:
        note(training, state._replace(error=error))


def make(training: Training, measure: measuring.Measure | None = None) -> State:
    """Trains a run in this process, or goes on with it, and measures it; leaves alone what is done.

    Raises:
        UserError: if it cannot be trained or measured; its state tells of it as well.
        Interrupted: if it was told to stop.
    """
    check_workdir(training)
    processes.together('looked')  # before the first changes anything
    forget_error(training)
    state = state_of(training.workdir)
    try:
        if not state.done:
            state = _train(training, state)
        if measure is not None and state.diverged is None:
            path, about = training.workdir / 'result.json', {'overrides': training.overrides}
            measuring.kept(path, lambda: measuring.of_workdir(training.workdir, measure), about)
    except Interrupted:
        raise
    except Exception as error:
        kind = '' if isinstance(error, UserError) else f'{type(error).__name__}: '
        note_error(training, kind + one_line(error))
        raise
    return state


def _train(training, state):
    begun, done, diverged = time.process_time(), False, None
    try:
        train(training.config, training.workdir)
        done = True
    except Diverged as error:
        done, diverged = True, str(error)
    finally:
        state = State(state.seconds + time.process_time() - begun, done, diverged)
        note(training, state)
    return state


def check_workdir(training: Training) -> None:
    """Refuses a workdir that holds a run of another config.

    Raises:
        UserError: naming the first field that differs.
    """
    workdir = training.workdir
    if (workdir / 'config.json').exists():
        saved = builders.check(files.load_config(workdir))
        changed = files.differences(saved, builders.with_teacher(training.config, workdir))
        if changed:
            raise UserError(f'{workdir} holds a run of another config ({changed[0]}): use another --workdir')


def build_all(config: Mapping[str, Any], workdir: AnyPath) -> None:
    """Builds all of a resolved config but its data, for nothing but what is refused.

    Raises:
        UserError: for anything that cannot be built.
    """
    config = builders.with_teacher(config, workdir)
    experiment = builders.build({**config, 'data': builders.undecoded(config['data'])})
    builders.build_draw(experiment, config['sample'])
