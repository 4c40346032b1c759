"""Tables as text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown."""
    lines = ['| ' + ' | '.join(cells) + ' |' for cells in (head, *rows)]
    return '\n'.join([lines[0], '|---' * len(head) + '|', *lines[1:]]) + '\n'


def label(value: Any) -> str:
    """A value of an override in few characters: of a spec its name and arguments."""
    if isinstance(value, Mapping):
        rest = ','.join(f'{k}={label(v)}' for k, v in value.items() if k != 'name')
        return f'{value.get("name", "")}({rest})' if rest else str(value.get('name', ''))
    return f'{value:.6g}' if isinstance(value, float) else str(value)
