r"""The map from noise of digits_edm, from no data, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_freeflow.py --workdir=runs/digits_freeflow \
        --config.init_from=runs/digits_edm

Cost: a few minutes on 2 CPU cores.
Expected: not measured yet; no number of ours is claimed.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.data_free(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
