"""The same with 35 evaluations, as many as EDM's own 18 steps of Heun take.

python -m experiments.tune --of=runs/digits_edm --space=experiments/tune/spaces/sampler_35.py --workdir=runs/tuned_35
"""

from experiments.tune.spaces import sampler

DEFAULTS = {"the run's own, heun": {}}


def space(trial):
    """With 35 evaluations."""
    return sampler.chosen(trial, 35)
