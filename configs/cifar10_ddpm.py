"""DDPM on CIFAR-10 at the paper's setting (arXiv 2006.11239, appendix B; the released code where the paper is silent).

    python -m diffusion_jax.train --config=configs/cifar10_ddpm.py --workdir=runs/cifar10_ddpm --config.data.dir=DIR

Cost: 800,000 steps of batch 128; the paper quotes 10.6 hours on a TPU v3-8.
Expected: FID 3.17, IS 9.46, NLL <= 3.75 bits/dim (paper, table 1). Not run here: no number of ours is claimed.
"""

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data.update(name='cifar10', augment={'name': 'flip'})
    return common.runlocal(config) if arg == 'runlocal' else config
