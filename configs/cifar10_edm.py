"""EDM on CIFAR-10, the teacher of the few-step configs (arXiv 2206.00364, config E on our U-Net).

Training as in the released code: 200 million images, learning rate 1e-3 after 10 million, EMA half-life half a million.
The network has DDPM++'s width, depth and attention; its skip scaling and its augmentation are not here.

    python -m diffusion_jax.train --config=configs/cifar10_edm.py --workdir=runs/cifar10_edm --config.data.dir=DIR

Cost: 390,625 steps of batch 512.
Expected: FID 1.99 to 2.05 without augmentation (paper, table 2). Not run here: no number of ours is claimed.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.edm()
    config.data.update(name='cifar10', augment={'name': 'flip'})
    config.net.update(multipliers=(2, 2, 2), blocks=4, dropout=0.13)
    config.optim = {'name': 'adam', 'lr': 1e-3, 'warmup': 19_531, 'clip': config_dict.placeholder(float)}
    config.ema = {'name': 'constant', 'decay': 0.99929}
    config.train.update(batch_size=512, steps=390_625)
    return common.runlocal(config) if arg == 'runlocal' else config
