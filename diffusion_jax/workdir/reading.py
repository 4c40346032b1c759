"""Reading the checkpoints of a run, which may be training: its averaged parameters, whole or in part.

What is damaged is named and passed over.
"""

import contextlib
import functools
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from diffusion_jax.devices import processes
from diffusion_jax.errors import UserError, nearest, one_line
from diffusion_jax.types import Params
from diffusion_jax.workdir import paths
from diffusion_jax.workdir.digest import digests
from diffusion_jax.workdir.paths import AnyPath


def restore(
    workdir: AnyPath, items: Mapping[str, Any], which: str = 'newest', best_by: str = 'loss'
) -> tuple[dict[str, Any], int]:
    """Items of a run's checkpoint, and its step. Reads nothing else and changes nothing.

    Args:
        workdir: of the run.
        items: their shapes and shardings, as `read` takes them.
        which: 'newest' or 'best', the one after it where it is unreadable; or a step.
        best_by: the metric of which the smallest is best.

    Raises:
        UserError: if the run has no such checkpoint, or none that can be read.
    """
    with _of_run(workdir) as reader:
        found = first_readable(reader, _order(reader, workdir, which, best_by), lambda step: read(reader, step, items))
    if found is None:
        raise UserError(f'{workdir} holds no checkpoint yet: train first, or check the path')
    return found.content, found.step


def restore_ema(workdir: AnyPath, abstract: Params, which: str = 'newest', best_by: str = 'loss') -> tuple[Params, int]:
    """The averaged parameters alone; see `restore`."""
    content, step = restore(workdir, {'ema': abstract}, which, best_by)
    return content['ema'], step


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
        which: as in `restore`.
        best_by: as in `restore`.

    Raises:
        UserError: as `restore`; if there are none.
    """
    name = functools.partial(jax.tree_util.keystr, simple=True, separator='/')
    with _of_run(workdir) as reader:

        def take(step):
            saved = jax.tree_util.tree_leaves_with_path(reader.metadata(step).item_metadata['ema'].tree)
            shapes = {name(path): tuple(a.shape) for path, a in saved}
            fits = lambda path, a: re.fullmatch(names, name(path)) and shapes.get(name(path)) == a.shape  # noqa: E731
            wanted = jax.tree_util.tree_map_with_path(lambda path, a: a if fits(path, a) else None, abstract)
            if not jax.tree.leaves(wanted):
                raise UserError(f"no array of {workdir} whose name matches {names!r} has the shape of this one's")
            return read(reader, step, {'ema': wanted})

        found = first_readable(reader, _order(reader, workdir, which, best_by), take)
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
        found = {step: goodness(reader.directory, step, best_by) for step in steps}
        known = [step for step in steps if found[step] > -math.inf]
        if not known:
            raise UserError(f'no checkpoint of {workdir} was saved with a finite {best_by}: name its step')
        return sorted(known, key=found.__getitem__, reverse=True)
    if which not in map(str, steps):
        raise UserError(f'{workdir} has no checkpoint {which}; {nearest(which, ["newest", "best", *map(str, steps)])}')
    return [int(which)]


@contextlib.contextmanager
def _of_run(workdir):
    if not (workdir / 'checkpoints').is_dir():
        raise UserError(f'{workdir} holds no checkpoint: train first, or check the path')
    with open_reader(paths.absolute(workdir) / 'checkpoints') as reader:
        yield reader


@contextlib.contextmanager
def open_reader(directory: AnyPath) -> Iterator[ocp.CheckpointManager]:
    """A manager that leaves everything as it is: a training that is still running may be saving there just now."""
    # Every process by itself, without barriers: one that fails to read its part would leave the others in them.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f'reader_{me}'
    )
    options = ocp.CheckpointManagerOptions(
        create=False, multiprocessing_options=alone, enable_async_checkpointing=False
    )
    handlers = {name: ocp.PyTreeCheckpointHandler(multiprocessing_options=alone) for name in ('train', 'ema', 'tracks')}
    with contextlib.closing(ocp.CheckpointManager(directory, options=options, item_handlers=handlers)) as manager:
        yield manager


def read(reader: ocp.CheckpointManager, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
    """Items of a checkpoint, on the shardings of the shapes given, where None stands for what is not wanted.

    Raises:
        ValueError: for an array that it does not have. Orbax raises many types.
    """
    args = {
        name: ocp.args.PyTreeRestore(
            item, restore_args=ocp.checkpoint_utils.construct_restore_args(item), partial_restore=name == 'ema'
        )
        for name, item in items.items()
    }
    content = dict(reader.restore(step, args=ocp.args.Composite(**args)).items())
    # An array that is not there stays what was asked for where a part is restored.
    absent = [p for p, a in jax.tree_util.tree_leaves_with_path(content) if isinstance(a, jax.ShapeDtypeStruct)]
    if absent:
        raise ValueError(f'it has no {jax.tree_util.keystr(absent[0], simple=True, separator="/")}')
    return content


class Found(NamedTuple):
    """A checkpoint that could be read."""

    content: dict[str, Any]
    step: int
    unreadable: list[int]  # steps tried before it


def first_readable(
    reader: ocp.CheckpointManager, order: Sequence[int], take: Callable[[int], dict[str, Any]]
) -> Found | None:
    """What `take` reads of the first of these steps that all processes can read, unchanged since it was saved.

    None if there are no steps. A step that one of them cannot read is named in a warning.

    Raises:
        UserError: if none can be read; what `take` raises of this kind.
    """
    unreadable = []
    for step in processes.from_first(order):
        content, saved, trouble = {}, {}, ''
        try:
            saved = metadata(reader.directory, step).get('digests', {})
            content = jax.block_until_ready(take(step))
        except UserError:
            raise
        except Exception as error:  # Orbax raises many types for damaged files
            trouble = f'{type(error).__name__}: {one_line(error):.200}'
        # Digests are sums over all processes: only where none has failed do they all take part.
        if not _on_any(bool(trouble)):
            trouble = _changed(content, saved)
            if not trouble:
                return Found(content, step, unreadable)
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


def goodness(directory: AnyPath, step: int, best_by: str) -> float:
    """The greater the better: the negative of a metric that a checkpoint was saved with, -inf where that is unknown."""
    try:
        value = metadata(directory, step).get('metrics', {}).get(best_by, math.nan)
    except (OSError, ValueError):
        return -math.inf  # damaged: reading the checkpoint tells of it
    return -value if math.isfinite(value) else -math.inf


def metadata(directory: AnyPath, step: int) -> dict[str, Any]:
    """What `checkpoint.save` told of a checkpoint; nothing, where an older version saved it.

    Raises:
        OSError, ValueError: if its file is gone, or damaged.
    """
    try:
        return dict(json.loads((directory / str(step) / '_CHECKPOINT_METADATA').read_text())['custom_metadata'] or {})
    except (KeyError, TypeError) as error:
        raise ValueError('metadata of another form') from error
