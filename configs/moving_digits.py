r"""EDM on clips of moving digits: 8 frames of 16x16 in which one of scikit-learn's digits is reflected at walls.

    python -m diffusion_jax.train --config=configs/moving_digits.py --workdir=runs/moving_digits
    python -m diffusion_jax.sample --workdir=runs/moving_digits --num=16 --cond=label:value=7
    python -m experiments.video --workdir=runs/moving_digits

The network is a space-time U-Net: convolutions over time, height and width, attention within frames and then of each
pixel across frames, all frames kept at every level. `--config.data.images.condition=None --config.data.drop_cond=None`
tells it no class.

Cost: 22 CPU minutes on 2 shared cores.
Expected: little: one clip in five shows the digit asked for. `moving_digits_dit` does better in about the same time;
    docs/results/video.md.
"""

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.edm()
    config.data = {
        'name': 'moving_digits',
        'images': {'name': 'digits', 'split': 'train', 'condition': 'label'},
        'frames': 8,
        'size': 16,
        'margin': 4.75,
        'slowest': 0.5,
        'fastest': 1.5,
        'n': 65_536,
        'seed': 0,
        'augment': None,
        'drop_cond': 0.1,
    }
    config.net.update(channels=16, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=16, dropout=0.0)
    config.net.update(strides=(1, 2, 2), attention_axes=((1, 2), (0,)))
    config.optim.update(lr=2e-3, warmup=100)
    config.optim.anneal = {'name': 'linear'}
    config.ema = {'name': 'warm_up', 'decay': 0.995}
    config.train.update(batch_size=8, steps=1200, log_every=50, save_every=200, sample_every=600)
    config.sample.update(num=16, batch_size=50)
    config.eval.update(num=200, batch_size=50)
    config.eval.features = {'name': 'pca', 'dim': 64}
    return common.runlocal(config) if arg == 'runlocal' else config
