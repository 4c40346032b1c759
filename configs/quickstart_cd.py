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
        # Of equal steps the last, from sigma / alpha = 0.43, would be one denoising of a picture: blurred.
        'pairs': {'name': 'neighbours', 'grid': {'name': 'quadratic', 'n': 8, 't_max': 1.0}},
        'distance': {'name': 'l2'},
        'pair_weight': {'name': 'uniform'},
        'ode_step': {'name': 'heun'},
    }
    steps = 800
    config.optim.update(lr=4e-4, warmup=50, anneal={'name': 'linear'})
    config.ema.decay = 0.99
    config.train.update(steps=steps, sample_every=steps)
    config.sample.sampler = {'name': 'renoise'}
    config.sample.times = {'name': 'first_of', 'n': 1, 'times': (1.0, 0.6)}
    config.eval.bits_num = 0  # a consistency model has no bound
    return common.runlocal(config) if arg == 'runlocal' else config
