r"""Easy consistency tuning of digits_edm, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_ect.py --workdir=runs/digits_ect \
        --config.init_from=runs/digits_edm

Cost: a few minutes on 2 CPU cores.
Expected: Frechet distance (pixels-64, n = 1000) 0.62 with one network evaluation; held-out data have 0.46 (n = 297).
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ect(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
