r"""Progressive distillation on CIFAR-10, from 8192 steps to 1 (arXiv 2202.00512).

The released code restarts Adam in every stage; here its moments go on.

    python -m diffusion_jax.train --config=configs/cifar10_pd.py --workdir=runs/cifar10_pd --config.data.dir=DIR \
        --config.init_from=runs/cifar10_x0

Cost: 750,000 steps of batch 128: 50,000 per stage, 100,000 for 2 steps and for 1.
Expected: FID 9.12 with one step (paper). Not run here: no number of ours is claimed.
"""

from configs import cifar10_x0, common

STAGES = {'name': 'halving', 'n_0': 4096}


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = cifar10_x0.get_config()
    config.net.dropout = 0.0
    config.objective = {'name': 'progressive', 'N': STAGES, 'weight': {'name': 'truncated_snr'}}
    config.frozen = {'name': 'staged_teacher', 'N': STAGES}
    config.optim = {'name': 'adam', 'lr': 5e-5, 'warmup': 0, 'clip': 1.0, 'anneal': {**STAGES, 'name': 'linear_stages'}}
    config.ema = {'name': 'none'}
    config.train.steps = 750_000
    config.sample.times = {'name': 'uniform', 'n': 1}
    return common.runlocal(config) if arg == 'runlocal' else config
