r"""Easy consistency tuning of mnist_edm, on MNIST.

    python -m diffusion_jax.train --config=configs/mnist_ect.py --workdir=runs/mnist_ect \
        --config.data.dir=DIR --config.init_from=runs/mnist_edm

Cost: about 25 minutes on 2 CPU cores.
Expected: one step 5.76, two steps 5.35 (Frechet distance, pca-64, n = 1000; DDIM-10 of the teacher 6.74);
docs/results/mnist_few_step.md.
"""

from configs import common, methods, mnist_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ect(methods.briefly(mnist_edm.get_config(), steps=1000))
    return common.runlocal(config) if arg == 'runlocal' else config
