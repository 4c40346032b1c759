r"""Consistency distillation of the quickstart's DDPM, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/quickstart_cd.py --workdir=runs/quickstart/consistency \
        --config.init_from=runs/quickstart

Cost: about two minutes on 2 CPU cores.
Expected: samples that look like digits, with one network evaluation.
"""

from configs import common, quickstart


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = quickstart.get_config()
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'neighbours', 'grid': {'name': 'uniform', 'n': 50}},
        'distance': {'name': 'pseudo_huber'},
        'pair_weight': {'name': 'uniform'},
        'ode_step': {'name': 'euler'},
    }
    config.optim.update(lr=1e-3, warmup=0)
    config.train.update(steps=750, sample_every=750)
    config.sample.sampler = {'name': 'renoise'}
    config.sample.times.n = 1
    config.eval.bits_num = 0  # a consistency model has no bound
    return common.runlocal(config) if arg == 'runlocal' else config
