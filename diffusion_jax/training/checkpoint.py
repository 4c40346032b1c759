"""Checkpoints of a run, by Orbax: asynchronous, sharded, the newest and best kept, the EMA readable on its own."""

import contextlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from diffusion_jax.devices import processes
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.training.state import TrainState
from diffusion_jax.types import Frozen, Params
from diffusion_jax.workdir import paths, reading, snapshots
from diffusion_jax.workdir.digest import digests
from diffusion_jax.workdir.paths import AnyPath


class Keep(NamedTuple):
    """Which checkpoints outlive the next ones."""

    newest: int = 2
    every: int = 0  # those of steps that this divides stay for ever; 0 for none
    best: int = 0  # how many with the smallest metric
    best_by: str = 'loss'


def open_snapshots(workdir: AnyPath, after: int) -> ocp.CheckpointManager:
    """The manager of the snapshots of a run that goes on after a step: all of them stay, but those of later steps.

    What a later step has in it is of a run that is no more: the one that goes on makes its own, which may differ.
    """
    options = ocp.CheckpointManagerOptions(
        cleanup_tmp_directories=True,
        single_host_load_and_broadcast=True,
        # Saves of states and of snapshots may be in flight together.
        multiprocessing_options=ocp.options.MultiprocessingOptions(barrier_sync_key_prefix='snapshots'),
    )
    manager = ocp.CheckpointManager(paths.absolute(workdir) / snapshots.FOLDER, options=options)
    for step in manager.all_steps():
        if step > after:
            manager.delete(step)
    return manager


def open_manager(workdir: AnyPath, keep: Keep = Keep()) -> ocp.CheckpointManager:  # noqa: B008
    """The manager of `workdir/checkpoints`, for the one run that writes there; all its processes take part."""
    directory = paths.absolute(workdir) / 'checkpoints'
    policy = [policies.LatestN(keep.newest), _Best(directory, keep, {})]
    policy += [policies.EveryNSteps(keep.every)] if keep.every else []
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(policy),
        cleanup_tmp_directories=True,
        single_host_load_and_broadcast=True,  # a shared file system may show other hosts an older list
    )
    return ocp.CheckpointManager(directory, options=options)


class _Best(NamedTuple):
    """Keeps the best by what their metadata say; of the one being saved they say nothing yet, and it is the newest.

    Orbax keeps metrics in a file of its own, and a single damaged one of these stops it from opening the others.
    """

    directory: AnyPath
    keep: Keep
    known: dict[int, float]

    def should_preserve(self, checkpoints, *, context):
        steps = [info.step for info in checkpoints]
        for step in steps[:-1]:
            if step not in self.known:
                self.known[step] = reading.goodness(self.directory, step, self.keep.best_by)
        ranked = sorted(steps, key=lambda step: self.known.get(step, -math.inf), reverse=True)[: self.keep.best]
        return [step in ranked and self.known.get(step, -math.inf) > -math.inf for step in steps]


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    metrics: Mapping[str, float] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Starts to save a state; returns once its arrays may be donated. A step that is saved already is left alone.

    Args:
        manager: of the run.
        state: the same on all processes.
        metrics: by which it may be among the best.
        about: what else its metadata shall tell, as JSON has it.

    Raises:
        UserError: if this save, or an earlier one still in flight, failed; older checkpoints are untouched.
    """
    _save(manager, int(state.step), _items(state), {**(about or {}), 'metrics': dict(metrics or {})})


def save_weights(manager: ocp.CheckpointManager, step: int, params: Params, about: Mapping[str, Any]) -> None:
    """Starts to save averaged parameters alone, of a run that was trained elsewhere; as `save`."""
    _save(manager, step, {'ema': params}, {**about})


def save_snapshot(manager: ocp.CheckpointManager, state: TrainState, lengths: Sequence[float]) -> None:
    """Starts to save the tracks of a state, of these sigma_rel; as `save`."""
    tracks = {snapshots.name_of(s): track for s, track in zip(lengths, state.tracks, strict=True)}
    _save(manager, int(state.step), {'ema': tracks}, {'lengths': [*lengths]})


def _items(state):
    train = state._replace(ema=None, tracks=())
    return {'train': train, 'ema': state.ema, **({'tracks': state.tracks} if state.tracks else {})}


def _stored(items):
    """The items as they are written."""
    return {name: _taken_apart(item) if name == 'train' else item for name, item in items.items()}


def _save(manager, step, items, metadata):
    try:
        if step in manager.all_steps():
            return
        # What is read back is compared with these: of the data themselves the storage library keeps no checksum.
        metadata['digests'] = {name: digests(item) for name, item in items.items()}
        args = {name: ocp.args.StandardSave(item) for name, item in _stored(items).items()}
        if not manager.save(step, args=ocp.args.Composite(**args), custom_metadata=metadata):
            raise UserError(f'step {step} was not saved: a later one, {manager.latest_step()}, exists')
    except UserError:
        raise
    except Exception as error:
        raise _failed(manager, error) from error


def wait(manager: ocp.CheckpointManager) -> None:
    """Waits for the save in flight.

    Raises:
        UserError: if it failed.
    """
    try:
        manager.wait_until_finished()
    except Exception as error:
        raise _failed(manager, error) from error


def _failed(manager, error):
    with reading.open_reader(manager.directory) as reader:  # alone: the other processes may not have failed
        good = reader.latest_step()
    # Out of the long story of the storage library, the operating system's reason.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    reason = os.strerror(int(code[1])) if code else one_line(error)
    kept = 'none was saved before it' if good is None else f'the checkpoint of step {good} is intact'
    return UserError(f'saving a checkpoint failed ({reason}); {kept}. Make room, then run the same command again.')


def restore(manager: ocp.CheckpointManager, abstract: TrainState) -> TrainState | None:
    """The newest readable state, on the shardings of `abstract`; None if nothing was ever saved.

    An unreadable step is moved aside, so that the run can save that step again, with a warning that names it.
    """
    items = _items(abstract)
    stored = _stored(items)

    def take(step):
        content = reading.read(reader, step, stored)
        return {**content, 'train': _put_together(content['train'])}

    with reading.open_reader(manager.directory) as reader:
        order = sorted(reader.all_steps(), reverse=True)
        found = reading.first_readable(reader, order, take)
    if found is None:
        return None
    if found.unreadable:
        # Only beside a readable step is an unreadable one surely damaged; all of them may be another model's.
        if processes.is_first():
            for step in found.unreadable:
                _move_aside(manager.directory / str(step))
        processes.together('moved aside')
        manager.reload()
    content = found.content
    return content['train']._replace(ema=content['ema'], tracks=content.get('tracks', ()))


def peek(workdir: AnyPath, abstract: TrainState, which: str = 'newest', best_by: str = 'loss') -> TrainState:
    """A state of a run that may be training, without its tracks; changes nothing.

    Raises:
        UserError: as `reading.restore`.
    """
    stored = _stored({'train': abstract._replace(ema=None, tracks=()), 'ema': abstract.ema})
    content, _ = reading.restore(workdir, stored, which, best_by)
    return _put_together(content['train'])._replace(ema=content['ema'])


def _taken_apart(state):
    """The state as dicts, with a place for a second learner only where there is one, as before there were any."""
    parts = {**state._asdict(), 'frozen': state.frozen._asdict()}
    del parts['tracks']  # an item of its own
    del parts['frozen']['other']  # it is there within a step alone
    if state.second is None:
        del parts['second']
    return parts


def _put_together(parts):
    return TrainState(**{**parts, 'frozen': Frozen(**parts['frozen'])})


def about(manager: ocp.CheckpointManager) -> dict[str, Any]:
    """What was saved about the run with the newest checkpoint that still tells it; empty if none does."""
    for step in sorted(manager.all_steps(), reverse=True):
        with contextlib.suppress(OSError, ValueError):  # a damaged one
            return reading.metadata(manager.directory, step)
    return {}


def _move_aside(folder):
    taken = len(list(folder.parent.glob(f'unreadable_{folder.name}*')))
    folder.rename(folder.with_name(f'unreadable_{folder.name}' + (f'_{taken}' if taken else '')))
