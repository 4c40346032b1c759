r"""From a picture to a sound: EDM on spoken digits that is told an MNIST picture of the digit, on fsdd_sound's network.

    python -m diffusion_jax.train --config=configs/fsdd_image.py --workdir=runs/fsdd_image --config.data.dir=DIR
    python -m diffusion_jax.sample --workdir=runs/fsdd_image --num=16 --cond=row:index=3

DIR holds mnist and fsdd. Pictures and recordings are paired by their class; those of the split 'test' are new to it.

Cost: that of fsdd_sound; not run yet.
Expected: not measured yet.
"""

from configs import common, fsdd_sound


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = fsdd_sound.get_config()
    data = config.data.to_dict()
    del data['condition']
    config.data = {**data, 'name': 'spoken_images', 'images': 'mnist', 'seed': 0}
    return common.runlocal(config) if arg == 'runlocal' else config
