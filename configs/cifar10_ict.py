"""Improved consistency training on CIFAR-10 (arXiv 2310.14189).

    python -m diffusion_jax.train --config=configs/cifar10_ict.py --workdir=runs/cifar10_ict --config.data.dir=DIR

Cost: 400,000 steps of batch 1024.
Expected: FID 2.83 with one step, 2.46 with two (paper). Not run here: no number of ours is claimed.
"""

from configs import cifar10_edm, common, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ict(cifar10_edm.get_config())
    config.net.dropout = 0.3
    methods.train(config, lr=1e-4, batch_size=1024, steps=400_000, decay=0.99993)
    return common.runlocal(config) if arg == 'runlocal' else config
