"""Tuning of config fields with Optuna: of a training, or of how a finished run is sampled.

A space file is Python: `space(trial)` gives the overrides of one trial, as `{'optim.lr': trial.suggest_float(...)}`. It
may also have `measure(run, bench) -> Measured`, whose first value counts, in place of the Frechet distance
(experiments/running/measuring.py), DIRECTION = 'maximize', and DEFAULTS, the overrides to compare the best trial with
by their names, as {'heun': {'sample.times.n': 4}}.
"""

from experiments.running.measurements import drawing as drawing
from experiments.running.measurements import frechet as frechet
from experiments.running.measuring import Bench as Bench
from experiments.running.measuring import Measured as Measured
