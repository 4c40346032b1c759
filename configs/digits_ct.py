"""Consistency training, from scratch, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_ct.py --workdir=runs/digits_ct

Cost: a few minutes on 2 CPU cores.
Expected: no digits, Frechet distance (pixels-64, n = 1000) 44.7 with one network evaluation: the curricula are those of
    far longer training; docs/results/toy_few_step.md has what shorter ones do.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ct(methods.briefly(digits_edm.get_config(), steps=750), {'name': 'l2'})
    return common.runlocal(config) if arg == 'runlocal' else config
