"""Captions of pictures in a folder or archive: Hugging Face's metadata files, or a text beside each picture."""

import csv
import io
import json
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from diffusion_jax.data import conditions
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.listings import METADATA, Listing, layout
from diffusion_jax.errors import one_line
from diffusion_jax.types import Masked

_FILE, _TEXTS = 'file_name', ('text', 'caption')  # columns; of the texts the first that is there


def captions(found: Listing) -> dict[str, str]:
    """The texts of a listing by the names of its pictures; of some there may be none.

    `metadata.csv` or `metadata.jsonl` at the top, and in each folder that is a split, says `file_name` and `text` (or
    `caption`) of each picture, names from its own folder on. Where there is none, NAME.txt tells of NAME.png.

    Raises:
        DataError: for no captions at all, a file of another form, one that tells of no picture, or of one twice.
    """
    told: dict[str, str] = {}
    names = set(found.names)
    for folder in ('', *(f'{top}/' for top in layout(found.names))):
        for file in METADATA:
            content = found.read(folder + file)
            for name, text in () if content is None else _rows(file, content, f'{found.path}: {folder}{file}'):
                name = posixpath.normpath(folder + name)
                if name not in names:
                    raise DataError(f'{found.path}: {folder}{file} tells of {name}, and there is no such picture')
                if name in told:
                    raise DataError(f'{found.path}: {name} has two captions')
                told[name] = text
    told = told or _beside(found)
    if not told:
        raise DataError(
            f'{found.path} has no captions: it needs {" or ".join(METADATA)} with the columns {_FILE} and {_TEXTS[0]}, '
            'or a .txt beside each picture'
        )
    return told


def _rows(file: str, content: bytes, where: str) -> list[tuple[str, str]]:
    try:
        text = content.decode('utf-8-sig')
        if file.endswith('.csv'):
            rows = list(csv.DictReader(io.StringIO(text, newline=''), strict=True))
        else:  # only a line feed ends a line: texts may hold other separators
            rows = [json.loads(line) for line in text.split('\n') if line.strip()]
        column = next((c for c in _TEXTS if rows and c in rows[0]), _TEXTS[0])
        told = [(row[_FILE], row[column]) for row in rows]
        for row in told:
            if not all(isinstance(value, str) for value in row):
                raise TypeError(f'{row} are no texts')
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f'{where} does not tell {_FILE} and {_TEXTS[0]} of each picture: {one_line(error)}') from error
    return told


def _beside(found: Listing) -> dict[str, str]:
    contents = {name: found.read(posixpath.splitext(name)[0] + '.txt') for name in found.names}
    try:
        return {name: content.decode('utf-8-sig') for name, content in contents.items() if content is not None}
    except ValueError as error:
        raise DataError(f'{found.path}: a .txt beside a picture is no UTF-8: {one_line(error)}') from error


def rows(told: Mapping[str, str], names: Sequence[str], length: int, path: Path) -> Masked:
    """Rows `[n, length]` of `conditions.of_bytes`, in the order of `names`; blanks at both ends are left out.

    Raises:
        DataError: for a picture without a caption or with an empty one; for any in `told` of more bytes than `length`.
    """
    n, name = max((len(text.strip().encode()), name) for name, text in told.items())
    if n > length:
        raise DataError(f'{path}: the longest caption, of {name}, has {n} bytes: set config.data.text_length')
    texts = [told.get(name, '').strip() for name in names]
    for name, text in zip(names, texts, strict=True):
        if not text:
            raise DataError(f'{path}: {name} has no caption')
    made = [conditions.encode_bytes(text, length) for text in texts]
    return Masked(np.stack([row.values for row in made]), np.stack([row.mask for row in made]))
