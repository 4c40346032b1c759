"""DDPM on CelebA 64x64, the model of DDIM's table 1 (arXiv 2010.02502, section 5; appendix D.1 for the network).

    python -m diffusion_jax.train --config=configs/celeba64_ddpm.py --workdir=runs/celeba64 --config.data.name=NAME \
        --config.data.dir=DIR

Data: any image set prepared at 64x64 (DDIM's: centre crop of 140, resized to 64).
Cost: 500,000 steps of batch 128 on an accelerator.
Expected: FID 3.26 with 1000 steps of sigma-hat, 3.51 with DDIM (paper, table 1). Not run here: no figure of ours.
"""

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data.update(name='celeba64', augment={'name': 'flip'})
    config.net.multipliers = (1, 2, 2, 2, 4)
    config.train.steps = 500_000
    return common.runlocal(config) if arg == 'runlocal' else config
