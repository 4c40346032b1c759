r"""EDM on Gaussian fields of 16x16 cells, a state and what it is some time later, whose law is known: minutes a run.

    python -m diffusion_jax.train --config=configs/fields_gaussian.py --workdir=runs/fields
    python -m experiments.fields --workdir=runs/fields
    python -m diffusion_jax.train --config=configs/fields_gaussian.py --workdir=runs/forecast \
        --config.data.condition=before
    python -m experiments.fields --workdir=runs/forecast

The first learns both states at once and forecasts by editing; the second is told the state and learns what follows.

Cost: about five minutes each on 2 CPU cores.
Expected: with --sampling=heun@40 the second has the law's spectrum to 2 %, and forecasts within 1 % of the exact
    posterior's CRPS; docs/results/fields.md.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.edm()
    config.data = {
        'name': 'gaussian_fields',
        'law': {'name': 'advected', 'size': 16, 'shift': 2, 'damping': 0.1, 'diffusion': 0.02},
        'n': 16_384,
        'seed': 0,
        'split': 'train',
        'condition': config_dict.placeholder(str),  # 'before': told the state
        'drop_cond': config_dict.placeholder(float),
    }
    config.net.update(channels=16, multipliers=(1, 2), blocks=1, attention=(), dropout=0.0, padding='circular')
    config.optim.update(lr=2e-3, warmup=100)
    config.ema = {'name': 'warm_up', 'decay': 0.995}
    config.train.update(batch_size=64, steps=1000, log_every=50, save_every=250, sample_every=1000)
    config.eval.update(num=1000, batch_size=500)
    config.eval.features = {'name': 'pixels'}
    return common.runlocal(config) if arg == 'runlocal' else config
