"""EDM on MNIST: the teacher of docs/results/mnist_few_step.md, on the network of mnist_ddpm.

    python -m diffusion_jax.train --config=configs/mnist_edm.py --workdir=runs/mnist_edm --config.data.dir=DIR

Cost: under 90 minutes on 2 CPU cores.
Expected: clearly legible digits with 35 network evaluations.
"""

from configs import common, mnist_ddpm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config, mnist = common.edm(), mnist_ddpm.get_config()
    for section in ('data', 'net', 'optim', 'ema', 'train'):
        config[section] = mnist[section]
    config.eval.update(num=2000, batch_size=100)
    return common.runlocal(config) if arg == 'runlocal' else config
