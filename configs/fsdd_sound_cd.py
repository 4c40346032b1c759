r"""Consistency distillation of fsdd_sound: a spoken digit in one network evaluation, or two.

    python -m diffusion_jax.train --config=configs/fsdd_sound_cd.py --workdir=runs/fsdd_sound_cd --config.data.dir=DIR \
        --config.init_from=runs/fsdd_sound
    python -m diffusion_jax.sample --workdir=runs/fsdd_sound_cd --num=16 --steps=2 --cond=label:value=7

Cost: not run at its length yet.
Expected: not measured yet; `python -m experiments.sound` measures it with one step and with two.
"""

from configs import common, fsdd_sound, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.cd(methods.briefly(fsdd_sound.get_config(), steps=600), {'name': 'l2'}, mu=0.95)
    return common.runlocal(config) if arg == 'runlocal' else config
