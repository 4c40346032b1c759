"""Improved consistency training, from scratch, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_ict.py --workdir=runs/digits_ict

Cost: a few minutes on 2 CPU cores.
Expected: Frechet distance (pixels-64, n = 1000) 0.90 with one network evaluation, 0.61 with two; held-out data have
    0.46 (n = 297). With the paper's s_1 = 1280, for longer training, 1.09 with one.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ict(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
