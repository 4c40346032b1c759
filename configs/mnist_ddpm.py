"""DDPM on MNIST with a small U-Net: the real run of docs/results/mnist_ddpm.md.

    python -m diffusion_jax.train --config=configs/mnist_ddpm.py --workdir=runs/mnist --config.data.dir=DIR

Cost: under 90 minutes on 2 CPU cores.
Expected: clearly legible digits; see docs/results/mnist_ddpm.md for the measured figures.
"""

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data.name = 'mnist'
    config.net.update(channels=16, multipliers=(1, 2, 4), blocks=1, attention=(7,), dropout=0.0)
    config.optim.update(lr=1e-3, warmup=200)
    config.ema = {'name': 'warm_up', 'decay': 0.999}
    config.train.update(batch_size=128, steps=3000, log_every=50, save_every=250, sample_every=1000)
    config.sample.times.n = 100
    config.eval.update(num=2000, batch_size=100, bits_num=500, bits_terms=50)
    return common.runlocal(config) if arg == 'runlocal' else config
