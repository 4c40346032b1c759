r"""Consistency training, from scratch, on MNIST.

    python -m diffusion_jax.train --config=configs/mnist_ct.py --workdir=runs/mnist_ct \
        --config.data.dir=DIR

Cost: about 25 minutes on 2 CPU cores.
Expected: along the batch's posterior mean, in 1350 steps, 16.9 (two steps 16.1); with the paper's 150 intervals
    nothing, 300 (Frechet distance, pca-64, n = 1000; DDIM-10 of the teacher 6.74); docs/results/mnist_few_step.md.
"""

from configs import common, methods, mnist_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ct(methods.briefly(mnist_edm.get_config(), steps=1000), {'name': 'l2'})
    return common.runlocal(config) if arg == 'runlocal' else config
