"""The diffusion model that progressive distillation starts from on CIFAR-10 (arXiv 2202.00512, released config).

    python -m diffusion_jax.train --config=configs/cifar10_x0.py --workdir=runs/cifar10_x0 --config.data.dir=DIR

Cost: 800,000 steps of batch 128, the length being our choice.
Expected: FID 2.5 to 2.6 with many steps, as the curves of the paper start. Not run here: no number of ours is claimed.
"""

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data.update(name='cifar10', augment={'name': 'flip'})
    config.schedule = {'name': 'CosineVP'}
    config.precond = {'name': 'x0'}
    config.net.update(channels=256, multipliers=(1, 1, 1), blocks=3, attention=(16, 8), dropout=0.2)
    # Log-SNR at most 20.
    config.objective.p_t = {'name': 'continuous_uniform', 't_min': 2.9e-5}
    config.objective.weight = {'name': 'truncated_snr'}
    config.optim = {'name': 'adamw', 'lr': 2e-4, 'warmup': 1000, 'clip': 1.0, 'weight_decay': 1e-3}
    config.sample.sampler = {'name': 'ddim', 'eta': 0.0}
    config.eval.bits_num = 0
    return common.runlocal(config) if arg == 'runlocal' else config
