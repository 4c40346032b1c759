"""Decoded pictures kept on this machine as one array, so that the second start takes seconds."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from diffusion_jax.data.errors import DataError
from diffusion_jax.data.listings import Listing
from diffusion_jax.data.pictures import Rule, decode
from diffusion_jax.errors import one_line
from diffusion_jax.progress import progress_bar

_FORMAT = 1  # of these files, and of what `decode` makes of a picture
_AT_ONCE = 1024  # pictures in memory


class Decoded(NamedTuple):
    """The pictures of a listing that can be read."""

    images: UInt8[np.ndarray, 'm h w c']  # mapped from the file
    rows: np.ndarray  # [m] their numbers in the listing
    left_out: dict[str, str]  # why the others cannot be read, by their names
    path: Path  # of the file


def cache_folder() -> Path:
    """Where decoded pictures lie unless a user says otherwise."""
    return Path.home() / '.cache' / 'diffusion_jax_images'


def decoded(listing: Listing, rule: Rule, skip: bool, folder: Path) -> Decoded:
    """The pictures of a listing under a rule, from `folder` if they were decoded there before.

    Two files are known by the listing's path and the rule, and by the names, sizes and times of its files: where any
    of them differs, the pictures are decoded anew, and the older files of the same path and rule removed. They may be
    removed at any time; processes that decode at the same time each do it, and the last one's stay.

    Args:
        listing: where the pictures are.
        rule: how they become arrays.
        skip: leave out what cannot be read; otherwise it is refused.
        folder: of the two files, made where it is not there.

    Raises:
        DataError: for a picture that cannot be read, pictures of several shapes, or a folder that cannot be written to.
    """
    key = _hash([_FORMAT, str(listing.path.absolute()), rule])
    stem = f'{key}-{_hash(listing.stamp)}'
    index_file, images_file = folder / f'{stem}.json', folder / f'{stem}.npy'
    found = _read(listing, index_file, images_file)
    if found is None:
        _make(listing, rule, skip, index_file, images_file)
        for old in folder.glob(f'{key}-*'):
            if not old.name.startswith(stem):
                old.unlink(missing_ok=True)
        found = _read(listing, index_file, images_file)
    if found is None:
        raise DataError(f'{images_file} cannot be read back: set config.data.cache to a folder of another disk')
    if found.left_out and not skip:
        raise _broken(listing, *next(iter(found.left_out.items())))
    return found


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _read(listing: Listing, index_file: Path, images_file: Path) -> Decoded | None:
    """None where there are no such files, or damaged ones."""
    try:
        left_out = json.loads(index_file.read_text())['left_out']
        images = np.load(images_file, mmap_mode='r')
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    rows = np.array([i for i, name in enumerate(listing.names) if name not in left_out])
    return Decoded(images, rows, left_out, images_file) if len(rows) == len(images) else None


def _make(listing: Listing, rule: Rule, skip: bool, index_file: Path, images_file: Path) -> None:
    folder, left_out = images_file.parent, {}
    with _told(folder), contextlib.ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        near = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        progress = stack.enter_context(progress_bar(f'decoding {listing.path}', len(listing.names)))
        with (near / 'images').open('wb') as file:
            shape, n, first = None, 0, ''
            for i, row, why in _rows(listing, rule, progress):
                name = listing.names[i]
                if row is None:
                    if not skip:
                        raise _broken(listing, name, why)
                    left_out[name] = why
                    continue
                if shape is None:
                    shape, first = row.shape, name
                    _write_header(file, 0, shape)
                if row.shape != shape:
                    raise _unlike(listing, first, shape, name, row.shape)
                file.write(row.tobytes())
                n += 1
            if shape is None:
                raise DataError(f'{listing.path}: none of its {len(left_out)} pictures can be read')
            file.seek(0)
            _write_header(file, n, shape)  # NumPy leaves room in it for any number of rows
        (near / 'index').write_text(json.dumps({'of': str(listing.path), 'rule': str(rule), 'left_out': left_out}))
        (near / 'images').replace(images_file)
        (near / 'index').replace(index_file)  # last, as it says that both are there
    print(f'{n} pictures of {listing.path} are decoded into {images_file}')


def _rows(
    listing: Listing, rule: Rule, progress: Callable[[int], None]
) -> Iterator[tuple[int, np.ndarray | None, str]]:
    """(number, array, '') of each picture, in order, or (number, None, why)."""

    def one(i: int) -> tuple[int, np.ndarray | None, str]:
        try:
            with listing.load(i) as picture:
                return i, decode(picture, rule), ''
        except Exception as error:  # of a damaged file the decoders raise many types
            return i, None, one_line(error)

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1), thread_name_prefix='decode') as pool:
        n = len(listing.names)
        for start in range(0, n, _AT_ONCE):
            yield from pool.map(one, range(start, min(start + _AT_ONCE, n)))
            progress(min(start + _AT_ONCE, n))


def _write_header(file, n, shape):
    np.lib.format.write_array_header_1_0(file, {'descr': '|u1', 'fortran_order': False, 'shape': (n, *shape)})


@contextlib.contextmanager
def _told(folder):
    try:
        yield
    except OSError as error:
        raise DataError(
            f'decoded pictures cannot be kept in {folder}: {error.strerror or one_line(error)}; set '
            'config.data.cache to a folder with room'
        ) from error


def _broken(listing, name, why):
    return DataError(
        f'{listing.path}: {name} cannot be read ({why}): mend it or take it away; a data set leaves it out with '
        'config.data.broken=skip'
    )


def _unlike(listing, first, shape, name, other):
    a, b = ('x'.join(map(str, s)) for s in (shape, other))
    return DataError(
        f'{listing.path}: {first} is {a}, and {name} is {b}: a data set brings all to config.data.size and '
        'config.data.channels'
    )
