"""Paper tables: a folder each, paper.py with its numbers and claims, plan.py with what to train and measure."""

import importlib
from pathlib import Path
from typing import Any

from diffusion_jax.errors import UserError, nearest
from experiments.papers.plan import Plan
from experiments.papers.table import Table

NAMES = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob('*/paper.py')))


def _module(name: str, part: str) -> Any:
    """A table's own file; a name with dots is a package anywhere that Python finds it."""
    return importlib.import_module(f'{name if "." in name else f"experiments.papers.{name}"}.{part}')


def known(name: str) -> str:
    """The name, if there is such a table.

    Raises:
        UserError: if there is none, with the nearest.
    """
    if '.' not in name and name not in NAMES:
        raise UserError(f'there is no table {name!r}; {nearest(name, NAMES)}')
    try:
        for part in ('paper', 'plan'):
            _module(name, part)
    except ModuleNotFoundError as error:
        raise UserError(f'there is no table {name!r}: {error}') from error
    return name


def table_of(name: str) -> Table:
    """What the paper says."""
    return _module(name, 'paper').TABLE


def plan_of(name: str, scale: str) -> Plan:
    """The runs and cells of a table at a scale."""
    return _module(name, 'plan').plan(scale)


def heading(name: str) -> str:
    """A table in one line."""
    return (_module(name, 'paper').__doc__ or '').partition('\n')[0].rstrip('.')
