r"""fsdd_sound at full size: a whole second, told who speaks as well, a wider and deeper U-Net and 200,000 steps.

    python -m diffusion_jax.train --config=configs/fsdd_sound_large.py --workdir=runs/fsdd_sound_large \
        --config.data.dir=DIR
    python -m experiments.sound --workdir=runs/fsdd_sound_large --num=5000

Cost: for an accelerator; not run yet.
Expected: not measured yet.
"""

from configs import common, fsdd_sound


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = fsdd_sound.get_config()
    config.data.update(length=8192, condition='label+speaker')
    config.data.spectrum.update(fold_frames=1, fold_bins=2)
    config.net.update(channels=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(16,), head_channels=64)
    config.optim.update(lr=2e-4, warmup=5000)
    config.ema = {'name': 'constant', 'decay': 0.9999}
    config.train.update(batch_size=256, steps=200_000, log_every=100, save_every=5000, sample_every=20_000)
    config.eval.update(num=5000, batch_size=500)
    return common.runlocal(config) if arg == 'runlocal' else config
