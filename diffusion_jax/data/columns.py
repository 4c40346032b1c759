"""Features of a prepared set that are read from disk where they are indexed."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from diffusion_jax.data import conditions
from diffusion_jax.data.features import Cast
from diffusion_jax.types import Condition


class Column:
    """One feature of a prepared set, decoded in threads when it is indexed by an integer array."""

    def __init__(self, records: Any, key: str, cast: Cast, folder: Any, name: str):
        self._records, self._key, self._cast = records, key, cast
        self._folder, self._name = folder, name
        self._threads = min(8, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f'decode-{key}')

    @property
    def stamp(self) -> str:
        """Changes when the set, its split, or the name, size or time of any of its files does."""
        files = sorted((file.name, *_state(file)) for file in self._folder.iterdir())
        return hashlib.sha256(json.dumps([self._name, self._key, files]).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: np.ndarray, /) -> Any:
        parts = [part for part in np.array_split(index, self._threads) if len(part)] or [index]
        return jax.tree.map(lambda *a: np.concatenate(a), *self._pool.map(self._decode, parts))

    def _decode(self, index):
        return self._cast([row[self._key] for row in self._records.__getitems__(index.tolist())])


def _state(file: Any) -> tuple[int, int]:
    if '://' in str(file):  # a bucket
        return int(file.stat().length), int(file.stat().mtime)
    stat = os.stat(file)
    return stat.st_size, stat.st_mtime_ns


class Checked:
    """Conditions on disk, each row checked when it is read."""

    def __init__(self, rows: Column, condition: Condition, name: str):
        self._rows, self._condition, self._name = rows, condition, name

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: np.ndarray, /) -> Any:
        rows = self._rows[index]
        conditions.check(self._condition, rows, self._name, index)
        return rows
