"""Improved DDPM on CIFAR-10: cosine schedule, T = 4000, learned variance, L_hybrid (arXiv 2102.09672, table 2).

    python -m diffusion_jax.train --config=configs/cifar10_iddpm.py --workdir=runs/cifar10_iddpm --config.data.dir=DIR

Cost: 500,000 steps of batch 128.
Expected: FID 3.19, NLL 3.17 bits/dim (paper, L_hybrid). Not run here: no number of ours is claimed.
"""

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data.update(name='cifar10', augment={'name': 'flip'})
    config.schedule.betas = {'name': 'cosine_betas', 'T': 4000}
    config.net.update(blocks=3, attention=(16, 8), dropout=0.3, heads=4, scale_shift=True)
    config.objective = {'name': 'hybrid', 'weight': {'name': 'snr'}}
    config.optim.update(lr=1e-4, warmup=0, clip=None)
    config.train.steps = 500_000
    config.sample.sampler = {'name': 'ancestral_learned'}
    config.sample.times.n = 4000
    return common.runlocal(config) if arg == 'runlocal' else config
