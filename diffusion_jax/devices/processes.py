"""Several processes as one program: how they find each other, what one does for all, and how they end together."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from diffusion_jax.errors import UserError, one_line


def start(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat: int = 30,
    shutdown: int = 30,
) -> None:
    """Joins this process to the others of its job, before anything else is asked of JAX; alone it does nothing.

    Args:
        coordinator: HOST:PORT of process 0. Without it the job is looked for where JAX knows to look: Cloud TPU, SLURM,
            Open MPI, Kubernetes, and the environment variable JAX_COORDINATOR_ADDRESS.
        num_processes: in all;
        process_id: of this one; both are found like the coordinator.
        heartbeat: seconds without a sign of life after which a process is held to be dead, and the job ends.
        shutdown: seconds that a process waits for the others at its end.

    Raises:
        UserError: if only a part of the three was given or found, or the others cannot be reached.
    """
    given = (coordinator, num_processes, process_id)
    if any(g is not None for g in given) and None in given:
        raise UserError('--coordinator, --num_processes and --process_id go together')
    try:
        jax.distributed.initialize(
            *given,
            local_device_ids=None,
            cluster_detection_method='deactivate' if coordinator else None,
            initialization_timeout=300,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=shutdown,
        )
    except ValueError as error:
        if 'should be defined' not in str(error) or coordinator:  # what JAX says where it finds no job
            raise UserError(f'cannot join the other processes: {one_line(error)}') from error
    except RuntimeError as error:
        if 'must be called before' in str(error) and not coordinator:
            return  # called from a program that uses JAX already, and has joined whom it wanted to
        raise UserError(f'cannot join the other processes: {one_line(error)}') from error


def many() -> bool:
    """Whether this is a job of several processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes what is written once."""
    return jax.process_index() == 0


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """What is printed within is printed by process 0 alone; what goes wrong, on stderr, by all."""
    if not many() or is_first():
        yield
        return
    with Path(os.devnull).open('w') as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def together(what: str) -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def from_first(values: Sequence[int]) -> list[int]:
    """These numbers as process 0 has them: what it has read of a disk the others may see later, or not at all."""
    if jax.process_count() == 1:
        return [*values]
    num = int(multihost_utils.broadcast_one_to_all(np.int32(len(values))))
    mine = np.zeros(num, np.int32)
    mine[: len(values)] = values[:num]
    return multihost_utils.broadcast_one_to_all(mine).tolist()


def everywhere(condition: bool) -> bool:
    """Whether it holds on every process."""
    if jax.process_count() == 1:
        return condition
    return bool(multihost_utils.process_allgather(np.int32(condition)).all())


def gather(x: jax.Array) -> np.ndarray:
    """An array that is spread over processes, whole on each of them."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def leave(code: int) -> None:
    """Ends this process of several at once: at a usual exit it would wait for others, who wait for it.

    They notice that it is gone, and end as well.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
