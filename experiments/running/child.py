"""A program, run as `python -m` runs it, that ends when the process that holds its standard input does."""

import runpy
import sys
from collections.abc import Sequence

from experiments.running import pool


def command(module: str, arguments: Sequence[str]) -> list[str]:
    """What starts it, for `pool.start`."""
    return [sys.executable, '-c', 'from experiments.running import child; child.run()', module, *arguments]


def run() -> None:
    """Runs the module that the arguments of this process name, with what follows it."""
    pool.ends_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
