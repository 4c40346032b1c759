r"""Improved consistency training, from scratch, on MNIST.

    python -m diffusion_jax.train --config=configs/mnist_ict.py --workdir=runs/mnist_ict \
        --config.data.dir=DIR

Cost: about 25 minutes on 2 CPU cores.
Expected: in 1600 steps with N.s_1=40 one step 11.5, two steps 9.5; in 1000 with the paper's s_1=1280 17.8 and 17.9
    (Frechet distance, pca-64, n = 1000; DDIM-10 of the teacher 6.74); docs/results/mnist_few_step.md, which has
    configs/mnist_ict_batch.py at 8.07 and 7.06.
"""

from configs import common, methods, mnist_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ict(methods.briefly(mnist_edm.get_config(), steps=1000))
    return common.runlocal(config) if arg == 'runlocal' else config
