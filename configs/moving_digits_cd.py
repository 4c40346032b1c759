r"""Consistency distillation of moving_digits: a clip in one network evaluation, or two.

    python -m diffusion_jax.train --config=configs/moving_digits_cd.py --workdir=runs/moving_digits_cd \
        --config.init_from=runs/moving_digits
    python -m experiments.video --workdir=runs/moving_digits_cd --judge=runs/moving_digits/video/label.npz

Cost: not run.
Expected: not measured; `python -m experiments.video` measures it with one step and with two.
"""

from configs import common, methods, moving_digits


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.cd(methods.briefly(moving_digits.get_config(), steps=600), {'name': 'l2'}, mu=0.95)
    return common.runlocal(config) if arg == 'runlocal' else config
