r"""Consistency distillation of the quickstart's DDPM, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/quickstart_cd.py --workdir=runs/quickstart/consistency \
        --config.init_from=runs/quickstart

Cost: about three minutes on 2 CPU cores.
Expected: samples that look like digits, with one network evaluation.
"""

from configs import common, quickstart


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = quickstart.get_config()
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'neighbours', 'grid': {'name': 'uniform', 'n': 8}},  # among them those of 2 and of 4 steps
        'distance': {'name': 'l2'},
        'pair_weight': {'name': 'uniform'},
        'ode_step': {'name': 'heun'},
    }
    steps = 800
    config.optim.update(lr=4e-4, warmup=50, anneal={'name': 'linear'})
    config.ema.decay = 0.99
    config.train.update(steps=steps, sample_every=steps)
    config.sample.sampler = {'name': 'renoise'}
    config.sample.times.n = 1
    config.eval.bits_num = 0  # a consistency model has no bound
    return common.runlocal(config) if arg == 'runlocal' else config
