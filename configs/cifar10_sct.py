r"""Continuous-time consistency training on CIFAR-10 (arXiv 2410.11081, appendix G.2).

The paper's teacher is a diffusion model on TrigFlow that embeds t; here it is cifar10_edm, whose network, with its own
embedding, means the same function of the angle. The number of steps on CIFAR-10 is not in the paper.

    python -m diffusion_jax.train --config=configs/cifar10_sct.py --workdir=runs/cifar10_sct --config.data.dir=DIR \
        --config.init_from=runs/cifar10_edm

Cost: 400,000 steps of batch 512.
Expected: FID 2.85 with one step, 2.06 with two (paper, table 1). Not run here: no number of ours is claimed.
"""

from configs import cifar10_edm, common, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.sct(cifar10_edm.get_config(), warmup=10_000)
    config.net.dropout = 0.2
    methods.train(config, lr=1e-4, batch_size=512, steps=400_000, decay=0.99929)
    config.optim.b2 = 0.99
    return common.runlocal(config) if arg == 'runlocal' else config
