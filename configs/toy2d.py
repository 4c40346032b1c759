"""DDPM on a 2-D mixture of Gaussians with an MLP: seconds a run, every quantity has a closed form to compare with.

    python -m diffusion_jax.train --config=configs/toy2d.py --workdir=runs/toy2d

Cost: about a minute on 2 CPU cores.
Expected: samples on eight clusters around a circle.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data = {
        'name': 'mixture',
        'components': {'name': 'ring', 'k': 8, 'radius': 0.8, 'std': 0.05},
        'n': 65_536,
        'seed': 0,
        'condition': config_dict.placeholder(str),
        'drop_cond': config_dict.placeholder(float),
    }
    config.net = {'name': 'MLP', 'width': 128, 'depth': 3}
    config.optim.update(lr=1e-3, warmup=100)
    config.ema = {'name': 'warm_up', 'decay': 0.999}
    config.train.update(batch_size=512, steps=5000, log_every=100, save_every=1000, sample_every=2500)
    config.sample.update(clip=False, num=1024, batch_size=1024)
    config.sample.times.n = 250
    config.eval.update(num=4096, batch_size=4096, bits_num=0)
    config.eval.features = {'name': 'pixels'}
    config.eval.reference = config.eval.held_out = None
    return common.runlocal(config) if arg == 'runlocal' else config
