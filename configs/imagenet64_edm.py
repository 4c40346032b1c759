"""EDM on ImageNet-64, the teacher of imagenet64_cd, on ADM's network (arXiv 2303.01469, released script).

    python -m diffusion_jax.train --config=configs/imagenet64_edm.py --workdir=runs/imagenet64_edm --config.data.dir=DIR

Cost: 600,000 steps of batch 4096, the length being our choice.
Expected: FID 2.44 with 79 network evaluations (paper, table 2). Not run here: no number of ours is claimed.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.edm()
    config.data.update(name='imagenet_resized/64x64', condition='label', augment={'name': 'flip'})
    config.net.update(channels=192, multipliers=(1, 2, 3, 4), blocks=3, attention=(32, 16, 8), head_channels=64)
    config.net.update(scale_shift=True, resample_in_block=True, dropout=0.1)
    config.optim = {'name': 'adam', 'lr': 1e-4, 'warmup': 0, 'clip': config_dict.placeholder(float)}
    config.ema = {'name': 'constant', 'decay': 0.999943}
    config.train.update(batch_size=4096, steps=600_000)
    config.sample.times.n = 40
    config.eval.held_out = 'validation'
    return common.runlocal(config) if arg == 'runlocal' else config
