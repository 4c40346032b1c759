r"""MeanFlow on CIFAR-10 (arXiv 2505.13447, appendix A; the released script).

    python -m diffusion_jax.train --config=configs/cifar10_meanflow.py --workdir=runs/cifar10_meanflow \
        --config.data.dir=DIR

Cost: 800,000 steps of batch 1024.
Expected: FID 2.92 with one step (paper, table 3). Not run here: no number of ours is claimed.
"""

from configs import cifar10_edm, common, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.mean_flow(cifar10_edm.get_config())
    config.objective.pairs.update(mean=-2.0, std=2.0, share=0.75)
    config.objective.p = 0.75
    config.net.dropout = 0.2
    methods.train(config, lr=6e-4, batch_size=1024, steps=800_000, decay=0.99995)
    config.optim.update(name='adam', warmup=10_000)
    return common.runlocal(config) if arg == 'runlocal' else config
