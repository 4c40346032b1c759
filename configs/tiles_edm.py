r"""EDM on the 32x32 tiles of monsters and items that the package carries, under their classes, mirrored at random.

    python -m diffusion_jax.train --config=configs/tiles_edm.py --workdir=runs/tiles_edm
    python -m diffusion_jax.sample --workdir=runs/tiles_edm --guidance=classifier_free:w=2.0 --cond=label:value=0

Cost: 4000 steps of batch 64; not measured yet.
Expected: not measured yet; no number of ours is claimed.
"""

from configs import common, mnist_ddpm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.on_data_of(common.edm(), mnist_ddpm.get_config())
    config.data.update(name='tiles', condition='label', drop_cond=0.1)
    config.data.augment = {'name': 'flip'}
    config.net.update(channels=32, multipliers=(1, 2, 2), attention=(8,))
    config.train.update(batch_size=64, steps=4000)
    return common.runlocal(config) if arg == 'runlocal' else config
