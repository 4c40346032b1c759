"""Images encoded once, by whatever encodes them: the second time they are read from a file."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import one_line
from diffusion_jax.progress import progress_bar

_FORMAT = 2  # of the names of files
_AT_ONCE = 64  # images between two writings
_HASHED_AT_ONCE = 1024  # images


def cache_folder() -> Path:
    """Where encoded images lie unless a user says otherwise."""
    return Path.home() / '.cache' / 'diffusion_jax_latents'


class Kept:
    """Rows of a file, read when they are indexed by an integer array."""

    def __init__(self, rows: np.ndarray):
        self._rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of them."""
        return self._rows.shape

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray:
        return np.asarray(self._rows[index])


def encoded(images: Source, encode: Callable[[np.ndarray], np.ndarray], encoder: str, folder: Path) -> Kept:
    """What an encoder makes of a set of images, `[N, ...]` in float32, in a file in `folder`.

    The file is known by the encoder, the name of the set, its size and shape, and all of its images: where any of these
    differs, all are encoded anew. It may be removed at any time; processes that encode at the same time each do it, and
    the last one's stays.

    Images in memory are known by every byte. Those that are read from disk are known by their `stamp`, where they have
    one, which is by the names, sizes and times of their files: to read and decode a million of them at every start
    would decode them all, which is what this file saves. A set without a stamp is read through.

    Args:
        images: the set.
        encode: rows of it `[n, ...]` -> what is kept of them.
        encoder: the hash of its weights.
        folder: of the file, made where it is not there.

    Raises:
        DataError: for a folder that cannot be written to.
    """
    file = folder / f'{_key(images, encoder)}.npy'
    with contextlib.suppress(OSError, ValueError, EOFError):  # not there, or damaged
        return Kept(np.load(file, mmap_mode='r'))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as near:
            _encode(images, encode, Path(near) / 'rows.npy').replace(file)
    except OSError as error:
        raise DataError(
            f'encoded images cannot be kept in {folder}: {error.strerror or one_line(error)}; set config.data.cache to '
            'a folder with room'
        ) from error
    print(f'{len(images.x)} images of {images.name} are encoded into {file}')
    return Kept(np.load(file, mmap_mode='r'))


def _key(images: Source, encoder: str) -> str:
    stamp = getattr(images.x, 'stamp', None)
    content = _content(images) if stamp is None else stamp
    told = [_FORMAT, encoder, images.name, len(images.x), images.kind.shape, content]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _content(images: Source) -> str:
    """The hash of every image's bytes."""
    found, n = hashlib.sha256(), len(images.x)
    for start in range(0, n, _HASHED_AT_ONCE):
        found.update(images.x[np.arange(start, min(start + _HASHED_AT_ONCE, n))].tobytes())
    return found.hexdigest()


def _encode(images: Source, encode: Callable[[np.ndarray], np.ndarray], file: Path) -> Path:
    n, rows = len(images.x), None
    with progress_bar(f'encoding {images.name}', n) as progress:
        for start in range(0, n, _AT_ONCE):
            index = np.arange(start, min(start + _AT_ONCE, n))
            part = encode(images.x[index])
            if rows is None:
                rows = np.lib.format.open_memmap(file, 'w+', np.float32, (n, *part.shape[1:]))
            rows[index] = part
            progress(int(index[-1]) + 1)
    if rows is not None:
        rows.flush()
    return file
