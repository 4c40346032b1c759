"""Inductive moment matching, from scratch, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_imm.py --workdir=runs/digits_imm

Cost: a few minutes on 2 CPU cores.
Expected: not measured yet; no number of ours is claimed.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.imm(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
