"""A program, run as `python -m` runs it, that ends when the process that holds its standard input does."""

import runpy
import sys

from experiments.running import pool

if __name__ == '__main__':
    pool.ends_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
