"""Checkpoints of a run, by Orbax: asynchronous, the newest few kept, the EMA readable on its own."""

import contextlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from diffusion_jax.errors import UserError, one_line
from diffusion_jax.state import TrainState
from diffusion_jax.types import Params


def open_manager(workdir: Path, keep: int = 2) -> ocp.CheckpointManager:
    """The manager of `workdir/checkpoints`, for the one process that writes there; keeps the newest `keep` steps."""
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(workdir.absolute() / 'checkpoints', options=options)


def save(manager: ocp.CheckpointManager, state: TrainState) -> None:
    """Starts to save a state; returns once its arrays may be donated. A step that is saved already is left alone.

    Raises:
        UserError: if this save, or an earlier one still in flight, failed; older checkpoints are untouched.
    """
    step = int(state.step)
    try:
        if step in manager.all_steps():
            return
        rest = state._replace(ema=None)
        items = {'train': ocp.args.StandardSave(rest), 'ema': ocp.args.StandardSave(state.ema)}
        if not manager.save(step, args=ocp.args.Composite(**items)):
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

    def read(step):
        rest = abstract._replace(ema=None)
        items = {'train': ocp.args.StandardRestore(rest), 'ema': ocp.args.StandardRestore(abstract.ema)}
        restored = manager.restore(step, args=ocp.args.Composite(**items))
        return restored['train']._replace(ema=restored['ema'])

    return _newest(manager, read, move_aside=True)


def restore_ema(workdir: Path, abstract: Params) -> tuple[Params, int]:
    """The averaged parameters of the newest readable checkpoint of a run, and its step.

    Raises:
        UserError: if the run has none.
    """
    if not (workdir / 'checkpoints').is_dir():
        raise UserError(f'{workdir} holds no checkpoint: train first, or check the path')
    # Without the clean-up of `open_manager`: a training that is still running may be saving there just now.
    options = ocp.CheckpointManagerOptions(create=False)
    with contextlib.closing(ocp.CheckpointManager(workdir.absolute() / 'checkpoints', options=options)) as manager:

        def read(step):
            return manager.restore(step, args=ocp.args.Composite(ema=ocp.args.StandardRestore(abstract)))['ema'], step

        found = _newest(manager, read, move_aside=False)
    if found is None:
        raise UserError(f'{workdir} holds no checkpoint yet: train first, or check the path')
    return found


def _newest(manager: ocp.CheckpointManager, read: Callable, move_aside: bool):
    unreadable = []
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            found = jax.block_until_ready(read(step))
        except Exception as error:  # Orbax raises many types for damaged files
            logging.warning('checkpoint %d is unreadable (%s: %.200s)', step, type(error).__name__, one_line(error))
            unreadable.append(step)
            continue
        # Only beside a readable step is an unreadable one surely damaged; all of them may be another model's.
        if move_aside and unreadable:
            for bad in unreadable:
                folder = Path(manager.directory) / str(bad)
                taken = len(list(folder.parent.glob(f'unreadable_{bad}*')))
                folder.rename(folder.with_name(f'unreadable_{bad}' + (f'_{taken}' if taken else '')))
            manager.reload()
        return found
    if unreadable:
        where = manager.directory
        raise UserError(f"none of the checkpoints {unreadable} in {where} can be read, or they are another model's")
    return None
