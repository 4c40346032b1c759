r"""EDM on spoken digits: the short-time Fourier transform of three quarters of a second, which is sound again.

    python -m diffusion_jax.train --config=configs/fsdd_sound.py --workdir=runs/fsdd_sound --config.data.dir=DIR
    python -m diffusion_jax.sample --workdir=runs/fsdd_sound --num=16 --guidance=classifier_free:w=2.0 \
        --cond=label:value=7
    python -m experiments.sound --workdir=runs/fsdd_sound

`--config.data.condition=label+speaker` tells who speaks as well, `word` the digit as a text, 'seven'; the first is
asked for by `--cond=label:value=label=7+speaker=theo`, the second by `--cond=prompts:text=seven`.

Cost: not measured yet.
Expected: not measured yet; docs/results/sound.md has half a run of an earlier form of it, which missed its aim.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.edm()
    config.data = {
        'name': 'recordings',
        'sound': 'fsdd',
        'dir': config_dict.placeholder(str),
        'split': 'train',
        'condition': 'label',
        'length': 6144,
        'rate': 8000,
        'peak': 0.95,
        # The standard deviation of x is 0.5, and EDM's sigma_data.
        'spectrum': {'name': 'stft', 'window': 256, 'power': 0.5, 'scale': 4.0, 'fold_frames': 2, 'fold_bins': 4},
        'augment': None,
        'drop_cond': 0.1,
    }
    # Twice as many channels as x has: what is noise in the silent half must pass through the network to be taken off.
    config.net.update(channels=32, multipliers=(1, 2), blocks=1, attention=(12,), head_channels=32, dropout=0.0)
    config.net.text_layers = 1  # of what is told as a text
    # What is said is decided at higher noise than EDM trains most.
    config.objective.p_t = {'name': 'log_normal', 'P_mean': -0.4, 'P_std': 1.2}
    config.optim.update(lr=2e-3, warmup=200)
    config.optim.anneal = {'name': 'linear'}
    config.ema = {'name': 'warm_up', 'decay': 0.997}
    config.train.update(batch_size=16, steps=2500, log_every=50, save_every=250, sample_every=0)
    config.sample.update(num=16, batch_size=50)
    config.eval.update(num=300, batch_size=50)
    config.eval.features = {'name': 'pca', 'dim': 64}
    return common.runlocal(config) if arg == 'runlocal' else config
