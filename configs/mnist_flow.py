"""Flow matching on MNIST: a velocity along straight paths from noise to data.

    python -m diffusion_jax.train --config=configs/mnist_flow.py --workdir=runs/mnist_flow --config.data.dir=DIR

Cost: under 90 minutes on 2 CPU cores.
Expected: TODO
"""

from configs import common, mnist_ddpm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.on_data_of(common.flow(), mnist_ddpm.get_config())
    return common.runlocal(config) if arg == 'runlocal' else config
