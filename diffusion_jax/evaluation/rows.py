"""Data as samples are: float32 in [-1, 1], read and made so a few rows at a time."""

from typing import Any

import numpy as np

from diffusion_jax.data.quantise import from_levels
from diffusion_jax.data.sources import Source


class Values:
    """The rows of a source in [-1, 1].

    They take no memory: a set that a source reads from disk is larger than that, as float32 four times over.
    """

    def __init__(self, source: Source):
        self._rows = source.x
        levels = source.kind.levels
        self._grid = None if levels is None else from_levels(np.arange(levels), levels)
        self.shape: tuple[int, ...] = (len(source.x), *source.kind.shape)

    def __len__(self) -> int:
        """Number of rows N."""
        return self.shape[0]

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """The rows of a slice or of an integer array, `[n, ...]`."""
        x = self._rows[np.arange(len(self))[rows]]
        return x if self._grid is None else self._grid[x]
