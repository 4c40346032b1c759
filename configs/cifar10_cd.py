r"""Consistency distillation on CIFAR-10 (arXiv 2303.01469, table 3).

The LPIPS files are torchvision's vgg16-397923af.pth and the lpips package's weights/v0.1/vgg.pth.

    python -m diffusion_jax.train --config=configs/cifar10_cd.py --workdir=runs/cifar10_cd --config.data.dir=DIR \
        --config.init_from=runs/cifar10_edm \
        --config.objective.distance.vgg=vgg16.pth --config.objective.distance.lin=vgg.pth

Cost: 800,000 steps of batch 512.
Expected: FID 3.55 with one step, 2.93 with two (paper, table 1). Not run here: no number of ours is claimed.
"""

from configs import cifar10_edm, common, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.cd(cifar10_edm.get_config(), methods.lpips(), mu=0.0)
    config.net.dropout = 0.0
    methods.train(config, lr=4e-4, batch_size=512, steps=800_000, decay=0.9999)
    return common.runlocal(config) if arg == 'runlocal' else config
