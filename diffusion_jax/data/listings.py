"""Pictures at random access, in folders, zip archives and NumPy files, with their labels."""

import functools
import hashlib
import io
import json
import os
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from diffusion_jax.data.errors import DataError
from diffusion_jax.errors import one_line

SPLITS = ('train', 'test', 'val', 'valid', 'validation')  # names of folders that are splits where 'train' is one
_SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.ppm', '.pgm')
_LABELS = 'dataset.json'
METADATA = ('metadata.csv', 'metadata.jsonl')  # of captions
_COMPANIONS = (_LABELS, *METADATA)
_IMAGES, _CLASSES = ('samples', 'images', 'arr_0', 'x'), ('labels', 'label', 'arr_1', 'y')  # names in .npz files


class Labels(NamedTuple):
    """A class of each picture."""

    index: np.ndarray  # [N] int32; -1 where there is none
    num: int  # of classes
    names: Sequence[str] | None  # of classes, where they have any


class Listing(NamedTuple):
    """Pictures in the order of their names."""

    path: Path
    names: list[str]  # N of them, with '/' between folders
    stamp: str  # changes when any of the files does
    load: Callable[[int], Image.Image]  # raises whatever a decoder does
    labels: Labels
    read: Callable[[str], bytes | None]  # another file, by its name as those of pictures are; None where there is none


def listing(path: Path) -> Listing:
    """The pictures of a folder, a .zip archive, or an .npy or .npz file with uint8 `[N, H, W]` or `[N, H, W, C]`.

    Classes are those of EDM's `dataset.json` where there is one, else the folders at the top (below those of splits);
    of an .npz file its array `labels`, `label`, `arr_1` or `y`. Hidden files, and those that are no pictures by
    their suffix, are not looked at. One folder at the top that holds all of it counts as the whole.

    Raises:
        DataError: for a path that is not there, without pictures, or that cannot be read; for labels of another form.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise DataError(f'cannot read {path}: there is no such file or folder')
    return {'.npy': _array, '.npz': _arrays}.get(path.suffix.lower(), _archive)(path, _digest([_state(path)]))


def layout(names: Iterable[str]) -> list[str]:
    """The splits that are folders of their own at the top, or none."""
    tops = {name.partition('/')[0] if '/' in name else '' for name in names}
    return sorted(tops) if 'train' in tops and tops <= {*SPLITS} else []


def _folder(path):
    found = sorted(_walk(path))
    root = _only_folder([name for name, _ in found] + [name for name in _COMPANIONS if (path / name).is_file()])
    names = [name.removeprefix(root) for name, _ in found]

    def load(i: int) -> Image.Image:
        return Image.open(path / root / names[i])

    def read(name: str) -> bytes | None:
        file = path / root / name
        return file.read_bytes() if file.is_file() else None

    stamp = _digest(f'{name}\0{state}' for name, state in found)
    return Listing(path, names, stamp, load, _labels(path, names, read(_LABELS)), read)


def _walk(folder: str | Path, above: str = '') -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and not _is_hidden(entry.name):
                yield from _walk(entry.path, f'{above}{entry.name}/')
            elif _is_picture(entry.name):
                yield f'{above}{entry.name}', _state(entry)


def _state(file: Path | os.DirEntry) -> str:
    try:
        stat = file.stat()
    except OSError:  # a link that leads nowhere: told when it is read
        return ''
    return f'{stat.st_size} {stat.st_mtime_ns}'


def _archive(path, stamp):
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(_damaged(path)) from error
    all_names = {*archive.namelist()}
    shown = [name for name in archive.namelist() if _is_picture(name)]
    root = _only_folder(shown + [name for name in _COMPANIONS if name in all_names])
    names = sorted(name.removeprefix(root) for name in shown)

    def load(i: int) -> Image.Image:
        return Image.open(io.BytesIO(archive.read(root + names[i])))

    def read(name: str) -> bytes | None:
        try:
            return archive.read(root + name) if root + name in all_names else None
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(_damaged(path)) from error

    return Listing(path, names, stamp, load, _labels(path, names, read(_LABELS)), read)


def _damaged(path):
    return f'cannot read {path}: it is no zip archive, or a damaged one'


def _only_folder(names):
    tops = {name.partition('/')[0] + '/' for name in names if '/' in name}
    alone = len(tops) == 1 and all('/' in name for name in names)
    return tops.pop() if alone and not tops <= {f'{split}/' for split in SPLITS} else ''


def _is_picture(name):
    return name.lower().endswith(_SUFFIXES) and not any(map(_is_hidden, name.split('/')))


def _is_hidden(name):
    return name.startswith('.') or name == '__MACOSX'


def _array(path, stamp):
    return _of_array(path, stamp, _read(path, lambda: np.load(path, mmap_mode='r')), None)


def _arrays(path, stamp):
    def read() -> dict[str, np.ndarray]:
        with path.open('rb') as opened, np.load(opened) as file:
            return {name: file[name] for name in file.files}

    arrays = _read(path, read)
    name = next((name for name in _IMAGES if name in arrays), next(iter(arrays), None))
    if name is None:
        raise DataError(f'{path} holds no arrays')
    return _of_array(path, stamp, arrays[name], next((arrays[c] for c in _CLASSES if c in arrays), None))


def _read(path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # of a damaged file NumPy raises many types
        raise DataError(f'cannot read {path}: it is no file of NumPy arrays, or a damaged one') from error


def _of_array(path, stamp, x, classes):
    shape = x.shape if x.ndim == 4 else (*x.shape, 1)
    if x.dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3, 4) or not x.size:
        raise DataError(
            f'{path} holds {x.dtype} {list(x.shape)}; uint8 [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels is needed'
        )

    def load(i: int) -> Image.Image:
        row = np.ascontiguousarray(x[i])
        return Image.fromarray(row.reshape(shape[1:3]) if shape[-1] == 1 else row)

    names = [f'{i:08d}' for i in range(len(x))]
    return Listing(path, names, stamp, load, _of_numbers(path, names, classes, 'its labels'), lambda name: None)


def _labels(path: Path, names: Sequence[str], content: bytes | None) -> Labels:
    if not names:
        raise DataError(f'{path} holds no pictures ({", ".join(_SUFFIXES)})')
    if content is not None:
        return _of_file(path, names, content)
    depth = 1 if layout(names) else 0
    tops = [name.split('/')[depth] if name.count('/') > depth else '' for name in names]
    classes = sorted({*tops} - {''})
    number = {name: i for i, name in enumerate(classes)} | {'': -1}
    return Labels(np.array([number[top] for top in tops], np.int32), len(classes), classes)


def _of_file(path, names, content):
    """EDM's: `{"labels": [["00000/img00000000.png", 6], ...]}`, or null for none."""
    try:
        labels = json.loads(content)['labels']
        told = {} if labels is None else {posixpath.normpath(name): label for name, label in labels}
    except (ValueError, KeyError, TypeError) as error:
        wanted = '{"labels": [[file, class], ...]}'
        raise DataError(f'{path}: {_LABELS} is not of the form {wanted}: {one_line(error)}') from error
    return _of_numbers(path, names, [told.get(name, -1) for name in names], _LABELS) if told else _none(names)


def _of_numbers(path, names, classes, where):
    if classes is None:
        return _none(names)
    try:
        index = np.asarray(classes)
    except ValueError:  # of several lengths
        index = np.zeros(0)
    if index.dtype.kind not in 'iu' or index.shape != (len(names),) or index.min() < -1 or index.max() >= 2**31 - 1:
        raise DataError(f'{path}: {where} must be one whole number in [0, 2147483646) for each picture')
    return Labels(index.astype(np.int32), int(index.max()) + 1, None)


def _none(names):
    return Labels(np.full(len(names), -1, np.int32), 0, None)


def _digest(lines: Iterable[str]) -> str:
    parts = (line.encode('utf-8', 'surrogateescape') for line in lines)
    return functools.reduce(_fed, parts, hashlib.sha256()).hexdigest()


def _fed(digest, part):
    digest.update(part + b'\n')
    return digest
