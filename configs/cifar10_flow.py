"""Flow matching on CIFAR-10 on the network of cifar10_edm.

    python -m diffusion_jax.train --config=configs/cifar10_flow.py --workdir=runs/cifar10_flow --config.data.dir=DIR

Cost: 390,625 steps of batch 512.
Expected: not run here; no number of ours is claimed, and no published one is of this network and sampler.
"""

from configs import cifar10_edm, common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.on_data_of(common.flow(), cifar10_edm.get_config())
    return common.runlocal(config) if arg == 'runlocal' else config
