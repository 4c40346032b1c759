"""A shortcut model, from scratch, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_shortcut.py --workdir=runs/digits_shortcut

Cost: a few minutes on 2 CPU cores.
Expected: samples that look like digits, with one network evaluation.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.shortcut(methods.briefly(digits_edm.get_config(), steps=750), mu=0.99)
    return common.runlocal(config) if arg == 'runlocal' else config
