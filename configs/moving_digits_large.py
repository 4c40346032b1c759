r"""moving_digits at full size: MNIST's digits at 14x14, 16 frames of 32x32, a wider U-Net, 200,000 steps.

    python -m diffusion_jax.train --config=configs/moving_digits_large.py --workdir=runs/moving_digits_large \
        --config.data.images.dir=DIR
    python -m experiments.video --workdir=runs/moving_digits_large --num=2000

At 28x28 in frames of 64x64: `--config.data.size=64 --config.data.shrink=1 --config.data.margin=14.5`, and speeds twice
as high.

Cost: for an accelerator; not run yet.
Expected: not measured yet.
"""

from ml_collections import config_dict

from configs import common, moving_digits


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = moving_digits.get_config()
    config.data.images = {
        'name': 'mnist',
        'dir': config_dict.placeholder(str),
        'split': 'train',
        'condition': 'label',
    }
    # The farthest that any digit reaches from its centre of mass is 6.99 pixels.
    config.data.update(frames=16, size=32, shrink=2, margin=7.0, slowest=1.0, fastest=3.0, n=2**20)
    config.net.update(channels=64, multipliers=(1, 2, 4), blocks=2, attention=(16, 8), head_channels=64)
    config.optim.update(lr=2e-4, warmup=5000)
    config.ema = {'name': 'constant', 'decay': 0.9999}
    config.train.update(batch_size=128, steps=200_000, log_every=100, save_every=5000, sample_every=20_000)
    config.eval.update(num=2000, batch_size=250)
    return common.runlocal(config) if arg == 'runlocal' else config
