"""EDM on MNIST: the teacher of docs/results/mnist_few_step.md, on the network of mnist_ddpm.

    python -m diffusion_jax.train --config=configs/mnist_edm.py --workdir=runs/mnist_edm --config.data.dir=DIR

Cost: under 90 minutes on 2 CPU cores.
Expected: clearly legible digits with 35 network evaluations.
"""

from configs import common, mnist_ddpm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.on_data_of(common.edm(), mnist_ddpm.get_config())
    return common.runlocal(config) if arg == 'runlocal' else config
