"""Sweeps: many runs of one config with some of its fields changed, and one table of their results.

A sweep file is Python: `sweep()` gives the runs as dicts of dotted overrides, from the functions here or by hand. It
may also have `CONFIG`, the config file to use where the command line names none, and `measure(run, bench) -> Measured`,
to measure something else of a finished run than `diffusion_jax.evaluate` does (experiments/running/measuring.py).
"""

from experiments.running.measuring import Bench as Bench
from experiments.running.measuring import Measured as Measured
from experiments.sweep.space import Overrides as Overrides
from experiments.sweep.space import choice as choice
from experiments.sweep.space import grid as grid
from experiments.sweep.space import log_uniform as log_uniform
from experiments.sweep.space import product as product
from experiments.sweep.space import random as random
from experiments.sweep.space import uniform as uniform
from experiments.sweep.space import zipped as zipped
