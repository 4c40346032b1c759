r"""MeanFlow, from scratch, on MNIST, along the batch's posterior mean, which takes noise from its targets.

    python -m diffusion_jax.train --config=configs/mnist_meanflow.py --workdir=runs/mnist_meanflow \
        --config.data.dir=DIR

Cost: 39 CPU minutes.
Expected: one step 7.48, two steps 3.97 (Frechet distance, pca-64, n = 1000; the EDM teacher's 35 evaluations 4.00);
    docs/results/mnist_few_step.md.
"""

from configs import common, methods, mnist_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.mean_flow(methods.briefly(mnist_edm.get_config(), steps=2000))
    config.objective.velocity = {'name': 'of_the_batch'}
    return common.runlocal(config) if arg == 'runlocal' else config
