"""Tuning of config fields with Optuna: of a training, or of how a finished run is sampled.

A space file is Python: `space(trial)` gives the overrides of one trial, as `{'optim.lr': trial.suggest_float(...)}`. It
may also have `measure(run, reference, seed) -> float` in place of `frechet`, DIRECTION = 'maximize', and DEFAULTS, the
overrides to compare the best trial with by their names, as {'heun': {'sample.times.n': 4}}.
"""

from experiments.tune.objective import frechet as frechet
from experiments.tune.objective import samples as samples
