"""result.json in a run's folder: what was measured of it, or why it failed. It is there once the run is over."""

from collections.abc import Callable
from typing import Any

from diffusion_jax.devices import processes
from diffusion_jax.errors import Interrupted, UserError, one_line
from diffusion_jax.training.run import train
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath
from experiments.sweep.measured import Measured
from experiments.sweep.plan import Job
from experiments.sweep.taking import PATIENCE, taking


def read(job: Job) -> dict[str, Any]:
    """The result of a run: `values` and `protocol`, or `error`, or nothing if it is not over."""
    return files.read_json(job.folder / 'result.json', {})


def is_done(job: Job) -> bool:
    """Whether a run was trained and measured."""
    return 'values' in read(job)


def fail(job: Job, error: str) -> None:
    """Notes why a run ended, unless it did so itself."""
    if not read(job):
        job.folder.mkdir(parents=True, exist_ok=True)
        files.write_json(job.folder / 'result.json', {'overrides': job.overrides, 'error': error})


def make(job: Job, measure: Callable[[AnyPath], Measured]) -> None:
    """Trains and measures a run in this process, or goes on with it; a finished one is left alone.

    Raises:
        UserError: if it cannot be trained or measured; its result tells of it as well.
        Interrupted: if it was told to stop.
    """
    with taking(job.folder, PATIENCE):
        if is_done(job):
            return
        processes.together('looked')  # before the first takes it away
        if processes.is_first():
            (job.folder / 'result.json').unlink(missing_ok=True)
        try:
            train(job.config, job.folder)
            measured = measure(job.folder)
        except Interrupted:
            raise
        except Exception as error:
            if processes.is_first():
                fail(job, f'{"" if isinstance(error, UserError) else type(error).__name__ + ": "}{one_line(error)}')
            raise
        if processes.is_first():
            files.write_json(job.folder / 'result.json', {'overrides': job.overrides, **measured._asdict()})
