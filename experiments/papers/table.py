"""A paper's table as data: its numbers, with their source, and what the paper claims of them."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

Cells = Mapping[tuple[str, str], float]  # (row, column) -> value, where there is one
UNSTABLE = math.inf  # of a run that diverged


class Claim(NamedTuple):
    """An ordering that the paper shows, as a predicate over cells."""

    text: str
    holds: Callable[[Cells], bool]  # raises KeyError where a cell that it compares is missing


class Paper(NamedTuple):
    """Where a table stands, and how its numbers were measured."""

    title: str  # 'DDIM, Table 1'
    arxiv: str
    protocol: str  # data, metric, number of samples
    standard: tuple[str, int, str] | None = None  # metric, n and reference under which our numbers compare with these


class Table(NamedTuple):
    """What a paper published. Cells that were not looked up are left out."""

    source: Paper
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    across: str  # what the columns are; '' where each is a metric
    cells: Cells
    claims: tuple[Claim, ...]
    metric: str = 'FID'  # of the cells; '' where each column is one


def block(rows: Sequence[str], columns: Sequence[str], numbers: Sequence[Sequence[float | None]]) -> Cells:
    """Cells of numbers set out as in the paper; None for no number."""
    return {
        (row, column): value
        for row, values in zip(rows, numbers, strict=True)
        for column, value in zip(columns, values, strict=True)
        if value is not None
    }


def along(cells: Cells, row: str, columns: Iterable[str]) -> list[float]:
    """A row's values in the order of the columns, those that are there.

    Raises:
        KeyError: for fewer than two, which show no order.
    """
    values = [cells[row, column] for column in columns if (row, column) in cells]
    if len(values) < 2:
        raise KeyError(row)
    return values


def falls(values: Sequence[float]) -> bool:
    """Whether each value is below the one before it."""
    return all(b < a for a, b in itertools.pairwise(values))


def best(cells: Cells, row: str, others: Iterable[str], column: str) -> bool:
    """Whether a row has the least value of a column."""
    return all(cells[row, column] < cells[other, column] for other in others if other != row)


def worst(cells: Cells, row: str, others: Iterable[str], column: str) -> bool:
    """Whether a row has the largest value of a column."""
    return all(cells[row, column] > cells[other, column] for other in others if other != row)


def verdict(claim: Claim, cells: Cells) -> bool | None:
    """Whether a claim holds; None where a cell is missing."""
    try:
        return claim.holds(cells)
    except KeyError:
        return None
