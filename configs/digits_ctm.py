r"""A consistency trajectory model of digits_edm, without its GAN, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_ctm.py --workdir=runs/digits_ctm \
        --config.init_from=runs/digits_edm

Cost: a few minutes on 2 CPU cores.
Expected: not measured yet; no number of ours is claimed.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.ctm(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
