"""Data as samples are: float32 in [-1, 1], read and made so a few rows at a time."""

from typing import Any

import numpy as np

from diffusion_jax.data.pipeline import to_uint8
from diffusion_jax.data.sources import Source


class Values:
    """The rows of a source in [-1, 1], on the grid of `to_uint8` if they are quantised.

    They take no memory: a set that a source reads from disk is larger than that, as float32 four times over.
    """

    def __init__(self, source: Source):
        self._rows = source.x
        self._grid = None
        if source.levels is not None:
            self._grid = rounded(np.arange(source.levels) / np.float32((source.levels - 1) / 2) - 1)
        event = source.x[np.zeros(1, np.int64)].shape[1:]
        self.shape: tuple[int, ...] = (len(source.x), *event)

    def __len__(self) -> int:
        """Number of rows N."""
        return self.shape[0]

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """The rows of a slice or of an integer array, `[n, ...]`."""
        x = self._rows[np.arange(len(self))[rows]]
        return x if self._grid is None else self._grid[x]


def rounded(x: np.ndarray) -> np.ndarray:
    """Values as a stored picture has them: to uint8 and back to [-1, 1]."""
    return np.asarray(to_uint8(x), np.float32) / np.float32(127.5) - 1
