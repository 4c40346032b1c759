r"""Consistency training on CIFAR-10 (arXiv 2303.01469, table 3).

The LPIPS files are torchvision's vgg16-397923af.pth and the lpips package's weights/v0.1/vgg.pth.
mu(k) counts the points N(k), as the paper does; --config.frozen.decay.count=intervals is what both released codes do.

    python -m diffusion_jax.train --config=configs/cifar10_ct.py --workdir=runs/cifar10_ct --config.data.dir=DIR \
        --config.objective.distance.vgg=vgg16.pth --config.objective.distance.lin=vgg.pth

Cost: 800,000 steps of batch 512.
Expected: FID 8.70 with one step, 5.83 with two (paper, table 1). Not run here: no number of ours is claimed.
"""

from configs import cifar10_edm, common, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ct(cifar10_edm.get_config(), methods.lpips())
    config.net.dropout = 0.0
    methods.train(config, lr=4e-4, batch_size=512, steps=800_000, decay=0.9999)
    return common.runlocal(config) if arg == 'runlocal' else config
