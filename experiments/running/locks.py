"""One process at a time to each folder. A bucket has no locks."""

import contextlib
import fcntl
import os
import time
from typing import IO

from diffusion_jax.devices import processes
from diffusion_jax.errors import UserError
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath

PATIENCE = 120.0  # seconds that a killed command's processes may take to save what they had
_POLL = 0.2


def _lock_of(folder: AnyPath) -> AnyPath:
    lock = folder.parent / '.locks' / folder.name
    lock.mkdir(parents=True, exist_ok=True)
    return lock


@contextlib.contextmanager
def locked(folder: AnyPath, patience: float = 0.0):
    """Keeps a folder, which need not be there, to this process until the block ends; training has a lock of its own.

    Raises:
        UserError: if another process still has it after `patience` seconds.
    """
    lock, until = _lock_of(folder), time.monotonic() + patience
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(files.lock(lock))
                break
            except UserError as error:
                if time.monotonic() >= until:
                    raise UserError(f'{folder} is in use by another process') from error
                time.sleep(_POLL)
        yield


def claim(folder: AnyPath) -> IO | None:
    """The same lock as a file for `pool.start`, None if another process has it.

    The folder is kept until this process has closed the file and the process that was started with it has ended: what
    is left running by a parent that was killed still has its folder.
    """
    if paths.is_remote(folder) or processes.many():  # a job of several processes has its lock from training alone
        return open(os.devnull)
    file = (_lock_of(folder) / '.lock').open('a')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
