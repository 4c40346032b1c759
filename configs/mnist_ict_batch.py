r"""Improved consistency training on MNIST along the batch's posterior mean, which takes noise from its targets.

    python -m diffusion_jax.train --config=configs/mnist_ict_batch.py --workdir=runs/mnist_ict_batch \
        --config.data.dir=DIR

Cost: 41 CPU minutes; about 25 minutes on 2 CPU cores.
Expected: one step 8.07, two steps 7.06 (Frechet distance, pca-64, n = 1000; twice that of the EDM teacher's 35
    evaluations is 8.0); docs/results/mnist_few_step.md.
"""

from configs import common, mnist_ict


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = mnist_ict.get_config()
    config.objective.ode_step = {'name': 'batch'}
    config.train.update(steps=1450, sample_every=1450)
    return common.runlocal(config) if arg == 'runlocal' else config
