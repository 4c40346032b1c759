"""Tables as text."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown."""
    lines = ['| ' + ' | '.join(cells) + ' |' for cells in (head, *rows)]
    return '\n'.join([lines[0], '|---' * len(head) + '|', *lines[1:]]) + '\n'


def read(text: str) -> list[list[dict[str, str]]]:
    """The tables of a text in markdown, each as rows of cells by their heads; a row that lacks cells has empty ones."""
    found, lines = [], []
    for line in [*text.splitlines(), '']:
        if line.startswith('|'):
            lines.append([cell.strip() for cell in line.strip().strip('|').split('|')])
            continue
        if len(lines) > 1:
            head, _, *rows = lines
            found.append([dict(zip_longest(head, row[: len(head)], fillvalue='')) for row in rows])
        lines = []
    return found


def label(value: Any) -> str:
    """A value of an override in few characters: of a spec its name and arguments."""
    if isinstance(value, Mapping):
        rest = ','.join(f'{k}={label(v)}' for k, v in value.items() if k != 'name')
        return f'{value.get("name", "")}({rest})' if rest else str(value.get('name', ''))
    return f'{value:.6g}' if isinstance(value, float) else str(value)
