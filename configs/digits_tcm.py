r"""The truncated second stage of digits_ict, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_tcm.py --workdir=runs/digits_tcm \
        --config.init_from=runs/digits_ict

Cost: a few minutes on 2 CPU cores.
Expected: Frechet distance (pixels-64, n = 1000) 0.55 with one network evaluation, 0.58 with two (iCT, its first stage,
    has 0.90 and 0.61, in half as many steps); held-out data have 0.46 (n = 297).
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.tcm(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
