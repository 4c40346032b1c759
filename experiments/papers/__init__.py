"""Paper tables: a folder each, paper.py with its numbers and claims, plan.py with what to train and measure."""

import importlib
from pathlib import Path

from experiments.papers.plan import Plan
from experiments.papers.table import Table

NAMES = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob('*/paper.py')))


def table_of(name: str) -> Table:
    """What the paper says."""
    return importlib.import_module(f'experiments.papers.{name}.paper').TABLE


def plan_of(name: str, scale: str) -> Plan:
    """The runs and cells of a table at a scale."""
    return importlib.import_module(f'experiments.papers.{name}.plan').plan(scale)


def heading(name: str) -> str:
    """A table in one line."""
    return (importlib.import_module(f'experiments.papers.{name}.paper').__doc__ or '').partition('\n')[0].rstrip('.')
