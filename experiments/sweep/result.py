"""result.json in a run's folder: what was measured of it, or why it failed. It is there once the run is over."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusion_jax import distributed, workdir
from diffusion_jax.errors import Interrupted, UserError, one_line
from diffusion_jax.training import train
from experiments.sweep.measured import Measured
from experiments.sweep.plan import Job

_PATIENCE = 120  # seconds that a killed sweep's processes may take to save what they had


def read(job: Job) -> dict[str, Any]:
    """The result of a run: `values` and `protocol`, or `error`, or nothing if it is not over."""
    return workdir.read_json(job.folder / 'result.json', {})


def is_done(job: Job) -> bool:
    """Whether a run was trained and measured."""
    return 'values' in read(job)


def fail(job: Job, error: str) -> None:
    """Notes why a run ended, unless it did so itself."""
    if not read(job):
        job.folder.mkdir(parents=True, exist_ok=True)
        workdir.write_json(job.folder / 'result.json', {'overrides': job.overrides, 'error': error})


def make(job: Job, measure: Callable[[Path], Measured]) -> None:
    """Trains and measures a run in this process, or goes on with it; a finished one is left alone.

    Raises:
        UserError: if it cannot be trained or measured; its result tells of it as well.
        Interrupted: if it was told to stop.
    """
    with _turn(job):
        if is_done(job):
            return
        if distributed.is_first():
            (job.folder / 'result.json').unlink(missing_ok=True)
        try:
            train(job.config, job.folder)
            measured = measure(job.folder)
        except Interrupted:
            raise
        except Exception as error:
            if distributed.is_first():
                fail(job, f'{"" if isinstance(error, UserError) else type(error).__name__ + ": "}{one_line(error)}')
            raise
        if distributed.is_first():
            workdir.write_json(job.folder / 'result.json', {'overrides': job.overrides, **measured._asdict()})


@contextlib.contextmanager
def _turn(job: Job):
    """Waits until no other process has this run: the process of a sweep that was killed saves before it ends."""
    folder = job.folder.parent / '.locks' / job.folder.name
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for left in range(_PATIENCE, -1, -1):
            try:
                stack.enter_context(workdir.lock(folder))
                break
            except UserError as error:
                if not left:
                    raise UserError(f'{job.folder} is in use by another process') from error
                time.sleep(1)
        yield
