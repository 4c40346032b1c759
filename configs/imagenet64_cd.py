r"""Consistency distillation on ImageNet-64 (arXiv 2303.01469, table 3).

The LPIPS files are torchvision's vgg16-397923af.pth and the lpips package's weights/v0.1/vgg.pth.
Unlike the released code for this data set, LPIPS has max pooling, and the network embeds ln(t) / 4, not 250 ln(t).

    python -m diffusion_jax.train --config=configs/imagenet64_cd.py --workdir=runs/imagenet64_cd --config.data.dir=DIR \
        --config.init_from=runs/imagenet64_edm \
        --config.objective.distance.vgg=vgg16.pth --config.objective.distance.lin=vgg.pth

Cost: 600,000 steps of batch 2048.
Expected: FID 6.20 with one step, 4.70 with two (paper, table 2). Not run here: no number of ours is claimed.
"""

from configs import common, imagenet64_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.cd(imagenet64_edm.get_config(), methods.lpips(), mu=0.95)
    config.objective.pairs.N.n = 40
    config.net.dropout = 0.0
    methods.train(config, lr=8e-6, batch_size=2048, steps=600_000, decay=0.999943)
    return common.runlocal(config) if arg == 'runlocal' else config
