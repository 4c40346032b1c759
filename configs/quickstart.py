"""DDPM on scikit-learn's 8x8 digits: the main job in minutes on a laptop, with nothing to download.

    python -m diffusion_jax.train --config=configs/quickstart.py --workdir=runs/quickstart

The network predicts v, not eps: the process, its samplers and its bound are DDPM's, and the same parameterisation at
t = 0 is the identity, as a consistency function must be. `configs/quickstart_cd.py` starts from these weights.

Cost: about two minutes on 2 CPU cores.
Expected: samples that look like digits; `python -m experiments.quickstart` adds DDIM and the distilled model.
"""

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data.name = 'digits'
    config.precond = {'name': 'v'}
    config.objective.weight = {'name': 'v'}
    config.net.update(channels=32, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0)
    config.optim.update(lr=2e-3, warmup=100)
    config.ema = {'name': 'warm_up', 'decay': 0.995}
    config.train.update(batch_size=128, steps=750, log_every=50, save_every=250, sample_every=250)
    config.sample.times.n = 250
    config.eval.update(num=1000, batch_size=500, bits_num=297, bits_terms=100)
    config.eval.features = {'name': 'pixels'}
    return common.runlocal(config) if arg == 'runlocal' else config
