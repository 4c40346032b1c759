"""Consistency training, from scratch, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_ct.py --workdir=runs/digits_ct

Cost: a few minutes on 2 CPU cores.
Expected: Frechet distance (pixels-64, n = 1000) 4.38 with one network evaluation, 2.41 with two; held-out data have
    0.46 (n = 297). With the paper's s_1 = 150, for longer training, 44.7 with one.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ct(methods.briefly(digits_edm.get_config(), steps=750), {'name': 'l2'})
    return common.runlocal(config) if arg == 'runlocal' else config
