"""Terminal velocity matching, from scratch, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_tvm.py --workdir=runs/digits_tvm

Cost: a few minutes on 2 CPU cores.
Expected: not measured yet; no number of ours is claimed.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.terminal_velocity(methods.briefly(digits_edm.get_config(), steps=750), mu=0.99)
    return common.runlocal(config) if arg == 'runlocal' else config
