r"""Continuous-time consistency distillation of mnist_edm, on MNIST.

    python -m diffusion_jax.train --config=configs/mnist_scd.py --workdir=runs/mnist_scd \
        --config.data.dir=DIR --config.init_from=runs/mnist_edm

Cost: about 25 minutes on 2 CPU cores.
Expected: one step 6.48, two steps 5.91 (Frechet distance, pca-64, n = 1000; DDIM-10 of the teacher 6.74);
    docs/results/mnist_few_step.md.
"""

from configs import common, methods, mnist_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    # On the 2-D ring a rate of 1e-3 made sCD unstable, and no other method (docs/results/toy_few_step.md).
    config = methods.scd(methods.briefly(mnist_edm.get_config(), steps=1000, lr=3e-4), warmup=200)
    return common.runlocal(config) if arg == 'runlocal' else config
