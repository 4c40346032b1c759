"""Masked diffusion of the characters of tiny_shakespeare, in windows of 128.

    python -m diffusion_jax.train --config=configs/shakespeare_masked.py --workdir=runs/text --config.data.dir=DIR
    python -m diffusion_jax.sample --workdir=runs/text --num=16 --sampler=remask:eta=0.05,top_p=0.95 --steps=256
    python -m diffusion_jax.evaluate --workdir=runs/text

DIR is a folder in which tensorflow-datasets has prepared tiny_shakespeare.

Cost: not measured yet.
Expected: not measured yet. The bits/dim of `evaluate` are bits per character.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.masked()
    config.data = {
        'name': 'characters',
        'text': 'tiny_shakespeare',
        'dir': config_dict.placeholder(str),
        'split': 'train',
        'length': 128,
        'stride': 32,
    }
    config.net.update(hidden=256, depth=6, heads=8, dropout=0.1)
    config.optim.update(lr=1e-3, warmup=500)
    config.ema = {'name': 'constant', 'decay': 0.999}
    config.train.update(batch_size=64, steps=20_000, log_every=100, save_every=1000, sample_every=5000)
    config.sample.update(num=16, batch_size=64)
    config.eval.update(num=1000, batch_size=100, bits_num=1000)
    return common.runlocal(config) if arg == 'runlocal' else config
