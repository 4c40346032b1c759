"""Anybody's pictures as a data set: in folders, zip archives and NumPy files."""

import functools
import hashlib
import posixpath
from collections.abc import Sequence
from typing import Any

import numpy as np

from diffusion_jax.data import captions, conditions, image_cache, kinds, pictures
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.listings import Labels, Listing, layout, listing
from diffusion_jax.data.sources import MEMORY_LIMIT, Source
from diffusion_jax.errors import nearest
from diffusion_jax.home import expanded
from diffusion_jax.ranges import one_of, whole, within

_TOLD = ('label', 'caption')
_SHOWN = 3  # names of files that were left out


def folder(
    dir: str | None = None,
    split: str = 'train',
    condition: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    resize: str = 'crop',
    background: str = 'white',
    broken: str = 'refuse',
    test_share: float = 0.1,
    cache: str | None = None,
    memory_limit: int = MEMORY_LIMIT,
    text_length: int = 64,
) -> Source:
    """Pictures `[N, H, W, C]` in uint8, in the order of their names; a class or a text may be told of each.

    Where the folders at the top are `train` and others of `listings.SPLITS`, these are the splits. Otherwise a picture
    belongs to 'test' by a hash of its name without suffix (of a row of an array, its number in eight digits), and to
    'train' else: adding a picture moves no other. 'all' is all of them.

    Decoded pictures are kept (`image_cache.decoded`). At most `memory_limit` bytes of a split are held in memory;
    a larger one is read from the file that keeps them.

    Args:
        dir: a folder, a .zip archive, or an .npy or .npz file; see `listings.listing`.
        split: 'train', 'test', or 'all'; of folders that are splits, the name of one.
        condition: 'label' for the class of each picture, 'caption' for its text; None for nothing.
        size: of both sides; None where all pictures have one size.
        channels: 1, 3 or 4; None where all pictures have as many.
        resize: 'crop', 'adm' or 'stretch'; see `pictures.rule`.
        background: 'white' or 'black', on which transparent parts lie.
        broken: 'refuse' a file that cannot be read, or 'skip' it.
        test_share: in [0, 1), of pictures that are in 'test'; of no meaning where folders are the splits.
        cache: the folder that keeps decoded pictures; by default ~/.cache/diffusion_jax_images.
        memory_limit: bytes of pictures to hold in memory.
        text_length: of a caption in UTF-8, in bytes, in [1, inf).

    Raises:
        ValueError: for an argument outside of its range.
        DataError: for files that cannot be read or are of several shapes, an empty split, a missing label or caption.
    """
    rule = pictures.rule(size, channels, resize, background)
    one_of(('refuse', 'skip'), broken=broken)
    within('[0, 1)', test_share=test_share)
    whole('[1, inf)', text_length=text_length)
    if not dir:
        raise DataError("'folder' needs config.data.dir, a folder, a .zip archive, or an .npy or .npz file of pictures")
    found = listing(expanded(dir))
    kept = image_cache.cache_folder() if cache is None else expanded(cache)
    made = image_cache.decoded(found, rule, broken == 'skip', kept)
    _tell(_left_out(found, made.left_out))
    names = [found.names[i] for i in made.rows]
    splits = _splits(names, layout(found.names), test_share)
    if split not in splits:
        raise DataError(f"{found.path} has no split '{split}'; it has {', '.join(splits)}")
    at = splits[split]
    if not len(at):
        raise DataError(f"split '{split}' of {found.path} has no pictures: it has {len(names)}, see test_share")
    x = made.images[at] if len(at) * made.images[0].size <= memory_limit else _Mapped(made.images, at, made.path.name)
    kind, name = kinds.images(made.images.shape[1:]), _name(found, split, rule, made, test_share)
    if condition is None:
        return Source(x, None, kind, None, name)
    if condition == 'caption':
        texts = captions.rows(captions.captions(found), [names[i] for i in at], text_length, found.path)
        return Source(x, texts, kind, conditions.of_bytes(text_length), name)
    labels = _checked_labels(found, condition, made.rows)
    told = conditions.of_classes(labels.num, labels.names)
    return Source(x, labels.index[made.rows[at]], kind, told, name)


def _splits(names: Sequence[str], folders: Sequence[str], test_share: float) -> dict[str, np.ndarray]:
    """The rows of each split."""
    if folders:
        tops = np.array([name.partition('/')[0] for name in names])
        return {**{top: np.flatnonzero(tops == top) for top in folders}, 'all': np.arange(len(names))}
    in_test = np.array([_share(name) < test_share for name in names])
    return {'train': np.flatnonzero(~in_test), 'test': np.flatnonzero(in_test), 'all': np.arange(len(names))}


def _share(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    stem = posixpath.splitext(name)[0].encode('utf-8', 'surrogateescape')
    return int.from_bytes(hashlib.sha256(stem).digest()[:8]) / 2**64


def _checked_labels(found: Listing, condition: str, rows: np.ndarray) -> Labels:
    if condition != 'label':
        raise DataError(f"{found.path} can tell its 'label', its 'caption' or nothing; {nearest(condition, _TOLD)}")
    missing = rows[found.labels.index[rows] < 0]
    if len(missing):
        raise DataError(
            f'{found.path}: {found.names[missing[0]]} has no label: put it in a folder of its class, or into '
            'dataset.json, or set config.data.condition to None'
        )
    return found.labels


def _name(found, split, rule, made, test_share):
    """What reports quote."""
    share = '' if split == 'all' or layout(found.names) else f', {test_share:g} for test'
    left_out = f', {len(made.left_out)} of {len(found.names)} left out' if made.left_out else ''
    return f'folder/{found.path.resolve().name}/{split} ({rule}{share}{left_out})'


def _left_out(found: Listing, left_out: dict[str, str]) -> str:
    if not left_out:
        return ''
    shown = [f'{name} ({why})' for name, why in left_out.items()][:_SHOWN]
    more = ', ..' if len(left_out) > _SHOWN else ''
    count = f'{len(left_out)} of {len(found.names)} pictures'
    return f'{found.path}: {count} cannot be read and are left out: {", ".join(shown)}{more}'


@functools.cache
def _tell(text: str) -> None:
    """Once, however many splits of a set a program opens."""
    if text:
        print(text)


class _Mapped:
    """Some rows of an array on disk, whose file is named after what it was made of."""

    def __init__(self, images: np.ndarray, rows: np.ndarray, file: str):
        self._images, self._rows, self._file = images, rows, file

    @property
    def stamp(self) -> str:
        """Changes when the file or the choice of rows does."""
        return hashlib.sha256(self._file.encode() + np.asarray(self._rows, np.int64).tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        return np.asarray(self._images[self._rows[index]])
