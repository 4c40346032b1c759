"""Checkpoints of a run, by Orbax: asynchronous, the newest few kept, the EMA readable on its own."""

import logging
from collections.abc import Callable
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from diffusion_jax.errors import UserError
from diffusion_jax.state import TrainState
from diffusion_jax.types import Params


def open_manager(workdir: Path, keep: int = 2) -> ocp.CheckpointManager:
    """The manager of `workdir/checkpoints`, which keeps the newest `keep` steps."""
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
        raise _failed(manager, step, error) from error


def wait(manager: ocp.CheckpointManager) -> None:
    """Waits for the save in flight.

    Raises:
        UserError: if it failed.
    """
    try:
        manager.wait_until_finished()
    except Exception as error:
        raise _failed(manager, None, error) from error


def _failed(manager, step, error):
    manager.reload()
    good = manager.latest_step()
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    kept = 'no checkpoint was saved before it' if good is None else f'the checkpoint of step {good} is intact'
    what = 'a checkpoint' if step is None else f'the checkpoint of step {step}'
    return UserError(f'saving {what} failed ({reason[:300]}); {kept}. Free some space and run the same command again.')


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
        raise UserError(f'{workdir} holds no checkpoint: train first, or check --workdir')
    manager = open_manager(workdir)

    def read(step):
        return manager.restore(step, args=ocp.args.Composite(ema=ocp.args.StandardRestore(abstract)))['ema'], step

    found = _newest(manager, read, move_aside=False)
    manager.close()
    if found is None:
        raise UserError(f'{workdir} holds no checkpoint yet: train first, or check --workdir')
    return found


def _newest(manager: ocp.CheckpointManager, read: Callable, move_aside: bool):
    unreadable = []
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            found = jax.block_until_ready(read(step))
        except Exception as error:  # Orbax raises many types for damaged files
            reason = ''.join(str(error).strip().splitlines()[:1])[:200]
            logging.warning('checkpoint %d is unreadable (%s: %s)', step, type(error).__name__, reason)
            unreadable.append(step)
            continue
        # Only beside a readable step is an unreadable one surely damaged; all of them may be another model's.
        if move_aside and unreadable:
            for bad in unreadable:
                folder = Path(manager.directory) / str(bad)
                folder.rename(folder.with_name(f'unreadable_{bad}'))
            manager.reload()
        return found
    if unreadable:
        where = manager.directory
        raise UserError(f"none of the checkpoints {unreadable} in {where} can be read, or they are another model's")
    return None
