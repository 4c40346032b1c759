"""One process at a time to each folder."""

import contextlib
import time

from diffusion_jax.errors import UserError
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath

PATIENCE = 120.0  # seconds that a killed command's processes may take to save what they had
_POLL = 0.2


@contextlib.contextmanager
def taking(folder: AnyPath, patience: float = 0.0):
    """Keeps a folder, which need not be there, to this process until it ends; training has a lock of its own.

    A bucket has no locks.

    Raises:
        UserError: if another process still has it after `patience` seconds.
    """
    lock = folder.parent / '.locks' / folder.name
    lock.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience
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
