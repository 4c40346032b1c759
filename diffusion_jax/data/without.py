"""A data set without one of its classes, which is then what its models have never seen."""

from typing import Any

import jax
import numpy as np

from diffusion_jax.data.conditions import is_class
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Rows, Source


class Chosen:
    """Rows at given places of others, read where they are indexed."""

    def __init__(self, rows: Rows, index: np.ndarray):
        self._rows, self._index = rows, index

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: np.ndarray, /) -> Any:
        return self._rows[self._index[index]]


def without(source: Source, label: int) -> Source:
    """The rows of all classes but one, in their order.

    Args:
        source: tells one class of each row.
        label: the class that is left out; the others keep their numbers.

    Raises:
        DataError: if it tells anything else, or has no such class.
    """
    parts = [] if source.condition is None else jax.tree.leaves(source.condition.parts)
    if len(parts) != 1 or not is_class(parts[0]):
        raise DataError(f'{source.name}: without={label} leaves out a class, and no one class is told of each row')
    num = parts[0].num
    if not 0 <= label < num:
        raise DataError(f'{source.name} has the classes 0 to {num - 1}: without={label} is none of them')
    (labels,) = jax.tree.leaves(source.cond)
    index = np.flatnonzero(labels[np.arange(len(source.x))] != label)
    rest = source._replace(x=_chosen(source.x, index), name=f'{source.name} without {label}')
    return rest._replace(cond=jax.tree.map(lambda rows: _chosen(rows, index), source.cond))


def _chosen(rows, index):
    return rows[index] if isinstance(rows, np.ndarray) else Chosen(rows, index)
