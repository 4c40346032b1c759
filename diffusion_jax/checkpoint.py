"""Checkpoints of a run, by Orbax: asynchronous, sharded, the newest and best kept, the EMA readable on its own."""

import contextlib
import functools
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from diffusion_jax import distributed, paths
from diffusion_jax.digest import digests
from diffusion_jax.errors import UserError, nearest, one_line
from diffusion_jax.paths import AnyPath
from diffusion_jax.state import TrainState
from diffusion_jax.types import Params


class Keep(NamedTuple):
    """Which checkpoints outlive the next ones."""

    newest: int = 2
    every: int = 0  # those of steps that this divides stay for ever; 0 for none
    best: int = 0  # how many with the smallest metric
    best_by: str = 'loss'


def open_manager(workdir: AnyPath, keep: Keep = Keep()) -> ocp.CheckpointManager:  # noqa: B008
    """The manager of `workdir/checkpoints`, for the one run that writes there; all its processes take part."""
    directory = paths.absolute(workdir) / 'checkpoints'
    policy = [policies.LatestN(keep.newest), _Best(directory, keep, {})]
    policy += [policies.EveryNSteps(keep.every)] if keep.every else []
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(policy), cleanup_tmp_directories=True
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
                self.known[step] = _goodness(self.directory, step, self.keep.best_by)
        ranked = sorted(steps, key=lambda step: self.known.get(step, -math.inf), reverse=True)[: self.keep.best]
        return [step in ranked and self.known.get(step, -math.inf) > -math.inf for step in steps]


def _goodness(directory, step, best_by):
    try:
        value = _metadata(directory, step).get('metrics', {}).get(best_by, math.nan)
    except (OSError, ValueError, AttributeError):
        return -math.inf  # damaged: reading the checkpoint tells of it
    return -value if math.isfinite(value) else -math.inf


def _metadata(directory, step):
    """What `save` told of a checkpoint; nothing, where an older version saved it."""
    return json.loads((directory / str(step) / '_CHECKPOINT_METADATA').read_text())['custom_metadata'] or {}


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
    step = int(state.step)
    try:
        if step in manager.all_steps():
            return
        items = {'train': state._replace(ema=None), 'ema': state.ema}
        # What is read back is compared with these: of the data themselves the storage library keeps no checksum.
        metadata = {**(about or {}), 'metrics': dict(metrics or {})}
        metadata['digests'] = {name: digests(item) for name, item in items.items()}
        args = ocp.args.Composite(**{name: ocp.args.StandardSave(item) for name, item in items.items()})
        if not manager.save(step, args=args, custom_metadata=metadata):
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
    manager.reload()
    good = manager.latest_step()
    # Out of the long story of the storage library, the operating system's reason.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    reason = os.strerror(int(code[1])) if code else one_line(error)
    kept = 'none was saved before it' if good is None else f'the checkpoint of step {good} is intact'
    return UserError(f'saving a checkpoint failed ({reason}); {kept}. Make room, then run the same command again.')


def restore(manager: ocp.CheckpointManager, abstract: TrainState) -> TrainState | None:
    """The newest readable state, on the shardings of `abstract`; None if nothing was ever saved.

    An unreadable step is moved aside, so that the run can save that step again, with a warning that names it.
    """
    items = {'train': abstract._replace(ema=None), 'ema': abstract.ema}
    with _reader(manager.directory) as reader:
        order = sorted(reader.all_steps(), reverse=True)
        found = _first_readable(reader, order, lambda step: _read(reader, step, items))
    if found is None:
        return None
    if found.unreadable:
        # Only beside a readable step is an unreadable one surely damaged; all of them may be another model's.
        if distributed.is_first():
            for step in found.unreadable:
                _move_aside(manager.directory / str(step))
        distributed.together('moved aside')
        manager.reload()
    return found.content['train']._replace(ema=found.content['ema'])


def about(manager: ocp.CheckpointManager) -> dict[str, Any]:
    """What was saved about the run with the newest checkpoint that still tells it; empty if none does."""
    for step in sorted(manager.all_steps(), reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError):  # a damaged one
            return _metadata(manager.directory, step)
    return {}


def restore_ema(workdir: AnyPath, abstract: Params, which: str = 'newest', best_by: str = 'loss') -> tuple[Params, int]:
    """The averaged parameters of a run's checkpoint, and its step. Reads nothing else and changes nothing.

    Args:
        workdir: of the run.
        abstract: their shapes and shardings.
        which: 'newest' or 'best', the one after it where it is unreadable; or a step.
        best_by: the metric of which the smallest is best.

    Raises:
        UserError: if the run has no such checkpoint, or none that can be read.
    """
    with _reader_of(workdir) as reader:
        found = _first_readable(
            reader, _order(reader, workdir, which, best_by), lambda step: _read(reader, step, {'ema': abstract})
        )
    if found is None:
        raise UserError(f'{workdir} holds no checkpoint yet: train first, or check the path')
    return found.content['ema'], found.step


class Taken(NamedTuple):
    """A part of another run's averaged parameters."""

    params: Params  # None where nothing was taken
    step: int
    left: list[str]  # the names of what was not taken


def restore_matching(
    workdir: AnyPath, abstract: Params, names: str, which: str = 'newest', best_by: str = 'loss'
) -> Taken:
    """Those of a run's averaged parameters that another model can use, by their names and shapes. Reads no others.

    Args:
        workdir: of the run.
        abstract: shapes and shardings of the other model's parameters.
        names: a regular expression of the whole name, such as `down_0/conv/kernel`.
        which: as in `restore_ema`.
        best_by: as in `restore_ema`.

    Raises:
        UserError: as `restore_ema`; if there are none.
    """
    name = functools.partial(jax.tree_util.keystr, simple=True, separator='/')
    with _reader_of(workdir) as reader:

        def read(step):
            saved = jax.tree_util.tree_leaves_with_path(reader.metadata(step).item_metadata['ema'].tree)
            shapes = {name(path): tuple(a.shape) for path, a in saved}
            fits = lambda path, a: re.fullmatch(names, name(path)) and shapes.get(name(path)) == a.shape  # noqa: E731
            wanted = jax.tree_util.tree_map_with_path(lambda path, a: a if fits(path, a) else None, abstract)
            if not jax.tree.leaves(wanted):
                raise UserError(f"no array of {workdir} whose name matches {names!r} has the shape of this one's")
            return _read(reader, step, {'ema': wanted})

        found = _first_readable(reader, _order(reader, workdir, which, best_by), read)
    if found is None:
        raise UserError(f'{workdir} holds no checkpoint yet: train first, or check the path')
    params = found.content['ema']
    all_names, taken = ([name(path) for path, _ in jax.tree_util.tree_leaves_with_path(t)] for t in (abstract, params))
    return Taken(params, found.step, [n for n in all_names if n not in taken])


def _order(reader, workdir, which, best_by):
    """The steps to try, in this order."""
    steps = sorted(reader.all_steps(), reverse=True)
    if not steps or which == 'newest':
        return steps
    if which == 'best':
        goodness = {step: _goodness(reader.directory, step, best_by) for step in steps}
        known = [step for step in steps if goodness[step] > -math.inf]
        if not known:
            raise UserError(f'no checkpoint of {workdir} was saved with a finite {best_by}: name its step')
        return sorted(known, key=goodness.__getitem__, reverse=True)
    if which not in map(str, steps):
        raise UserError(f'{workdir} has no checkpoint {which}; {nearest(which, ["newest", "best", *map(str, steps)])}')
    return [int(which)]


@contextlib.contextmanager
def _reader_of(workdir):
    if not (workdir / 'checkpoints').is_dir():
        raise UserError(f'{workdir} holds no checkpoint: train first, or check the path')
    with _reader(paths.absolute(workdir) / 'checkpoints') as reader:
        yield reader


@contextlib.contextmanager
def _reader(directory: AnyPath) -> Iterator[ocp.CheckpointManager]:
    """A manager that leaves everything as it is: a training that is still running may be saving there just now."""
    # Every process by itself, without barriers: one that fails to read its part would leave the others in them.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f'reader_{me}'
    )
    options = ocp.CheckpointManagerOptions(
        create=False, multiprocessing_options=alone, enable_async_checkpointing=False
    )
    handlers = {name: ocp.PyTreeCheckpointHandler(multiprocessing_options=alone) for name in ('train', 'ema')}
    with contextlib.closing(ocp.CheckpointManager(directory, options=options, item_handlers=handlers)) as manager:
        yield manager


def _read(reader, step, items):
    """Items of a checkpoint, on the shardings of the shapes given, where None stands for what is not wanted."""
    args = {
        name: ocp.args.PyTreeRestore(
            item, restore_args=ocp.checkpoint_utils.construct_restore_args(item), partial_restore=name == 'ema'
        )
        for name, item in items.items()
    }
    return dict(reader.restore(step, args=ocp.args.Composite(**args)).items())


class _Found(NamedTuple):
    content: dict[str, Any]
    step: int
    unreadable: list[int]


def _first_readable(reader: ocp.CheckpointManager, order: Sequence[int], read: Callable) -> _Found | None:
    unreadable = []
    for step in order:
        content, saved, trouble = {}, {}, ''
        try:
            saved = _metadata(reader.directory, step).get('digests', {})
            content = jax.block_until_ready(read(step))
        except UserError:
            raise
        except Exception as error:  # Orbax raises many types for damaged files
            trouble = f'{type(error).__name__}: {one_line(error):.200}'
        # Digests are sums over all processes: only where none has failed do they all take part.
        if not _on_any(bool(trouble)):
            trouble = _changed(content, saved)
            if not trouble:
                return _Found(content, step, unreadable)
        logging.warning('checkpoint %d is unreadable (%s)', step, trouble or 'by another process')
        unreadable.append(step)
    if unreadable:
        where = reader.directory
        raise UserError(f"none of the checkpoints {unreadable} in {where} can be read, or they are another model's")
    return None


def _changed(content, saved):
    """What to say of arrays that are not those that were saved; nothing if they all are."""
    found = {name: digests(item) for name, item in content.items()}
    changed = [path for name in found for path, d in found[name].items() if saved.get(name, {}).get(path, d) != d]
    return f'{len(changed)} of its arrays are not those that were saved, the first {changed[0]}' if changed else ''


def _on_any(failed):
    """Whether one process failed: all of them go on with the same step."""
    return bool(np.any(multihost_utils.process_allgather(np.array(failed))))


def _move_aside(folder):
    taken = len(list(folder.parent.glob(f'unreadable_{folder.name}*')))
    folder.rename(folder.with_name(f'unreadable_{folder.name}' + (f'_{taken}' if taken else '')))
