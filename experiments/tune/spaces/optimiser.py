"""The optimiser and the average of any run.

python -m experiments.tune --config=configs/toy2d.py --space=experiments/tune/spaces/optimiser.py --workdir=runs/x
"""


def space(trial):
    """The overrides of a trial."""
    return {
        'optim.lr': trial.suggest_float('lr', 1e-5, 1e-2, log=True),
        'optim.warmup': trial.suggest_int('warmup', 1, 1000, log=True),
        'ema.decay': 1 - trial.suggest_float('one_less_decay', 1e-4, 1e-1, log=True),
    }
