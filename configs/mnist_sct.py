r"""Continuous-time consistency training from mnist_edm, on MNIST.

    python -m diffusion_jax.train --config=configs/mnist_sct.py --workdir=runs/mnist_sct \
        --config.data.dir=DIR --config.init_from=runs/mnist_edm

Cost: about 25 minutes on 2 CPU cores.
Expected: one step 11.9, two steps 10.1 (Frechet distance, pca-64, n = 1000; DDIM-10 of the teacher 6.74);
    docs/results/mnist_few_step.md.
"""

from configs import common, methods, mnist_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.sct(methods.briefly(mnist_edm.get_config(), steps=1000), warmup=200)
    return common.runlocal(config) if arg == 'runlocal' else config
