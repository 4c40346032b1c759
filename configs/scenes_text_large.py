r"""scenes_text at full size: a wider, deeper U-Net that attends to the caption at 16 and 8, and 200,000 steps.

    python -m diffusion_jax.train --config=configs/scenes_text_large.py --workdir=runs/scenes_text_large
    python -m experiments.scenes --workdir=runs/scenes_text_large --out=runs/scenes_text_large/scenes --num=5000

Cost: for an accelerator; not run yet.
Expected: not measured yet.
"""

from configs import common, scenes_text


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = scenes_text.get_config()
    config.data.n = 2**24  # pictures are drawn as they are read
    config.net.update(channels=96, multipliers=(1, 2, 2), blocks=2, attention=(16, 8), head_channels=64, text_layers=4)
    config.optim.update(lr=2e-4, warmup=5000)
    config.ema = {'name': 'constant', 'decay': 0.9999}
    config.train.update(batch_size=256, steps=200_000, log_every=100, save_every=5000, sample_every=20_000)
    config.eval.update(num=10_000, batch_size=500)
    return common.runlocal(config) if arg == 'runlocal' else config
