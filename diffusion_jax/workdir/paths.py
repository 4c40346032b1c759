"""Where a run's files are: on this machine, or in a bucket of Google Cloud (gs://).

A bucket has no locks and no appending, and an object appears in it whole or not at all.
"""

import contextlib
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from etils import epath

from diffusion_jax.errors import UserError
from diffusion_jax.home import expanded

# Where TensorFlow is installed epath would use it, and importing it costs half a minute.
os.environ.setdefault('EPATH_USE_TF', 'false')

AnyPath = Path | epath.Path
LONGEST = 150  # bytes of a name; file systems end at 255, suffixes included


def parse(text: str) -> AnyPath:
    """The path that a user gave.

    Raises:
        UserError: for a store that checkpoints cannot be in, or one whose library is missing.
    """
    scheme, separator, _ = text.partition('://')
    if not separator:
        return local(text)
    if scheme != 'gs':
        raise UserError(f'{text}: a run can be on this machine, in gs://, or in another store mounted as a folder')
    for module in ('gcsfs', 'google.cloud.storage'):
        if not _is_there(module):
            raise UserError(f'{text} needs {module}: pip install "diffusion_jax[gcs]"')
    return epath.Path(text)


def local(text: str | Path) -> Path:
    """The path on this machine that a user gave.

    Raises:
        UserError: for one of another store.
    """
    if '://' in str(text):
        raise UserError(f'{text}: this must be on this machine, or in a store that is mounted as a folder')
    return expanded(text)


def _is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def is_remote(path: AnyPath) -> bool:
    """Whether it is in a bucket."""
    return str(path).startswith('gs://')


def absolute(path: AnyPath) -> AnyPath:
    """The same path from any working directory."""
    return path if is_remote(path) else path.absolute()


@contextlib.contextmanager
def appended(folder: AnyPath, *names: str) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder on this machine for files that grow, which begins with these of `folder`, and what copies all there.

    For a folder on this machine it is that folder, and there is nothing to copy.
    """
    if not is_remote(folder):
        yield Path(folder), lambda: None
        return
    with tempfile.TemporaryDirectory() as near:

        def copy():
            for file in Path(near).iterdir():
                (folder / file.name).write_bytes(file.read_bytes())

        for name in names:
            if (folder / name).exists():
                (Path(near) / name).write_bytes((folder / name).read_bytes())
        try:
            yield Path(near), copy
        finally:
            copy()


def shortened(name: str) -> str:
    """The name of a file, without its suffix; a long one ends in a hash of what it leaves out."""
    name_bytes = os.fsencode(name)
    short = name_bytes[:LONGEST].decode(errors='ignore') + '_' + hashlib.sha256(name_bytes).hexdigest()[:12]
    return short if len(name_bytes) > LONGEST else name


def near(path: AnyPath) -> Path:
    """Where a file of this machine can be filled step by step before it goes to `path`: the same place every time."""
    if not is_remote(path):
        return Path(path)
    parent = hashlib.sha256(str(path.parent).encode()).hexdigest()[:16]
    place = Path.home() / '.cache' / 'diffusion_jax_samples' / parent
    place.mkdir(parents=True, exist_ok=True)
    return place / path.name
