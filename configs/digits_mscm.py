r"""Multistep consistency distillation of digits_edm into two steps, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_mscm.py --workdir=runs/digits_mscm \
        --config.init_from=runs/digits_edm

Cost: a few minutes on 2 CPU cores.
Expected: not measured yet; no number of ours is claimed.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.mscm(methods.briefly(digits_edm.get_config(), steps=750), K=2)
    return common.runlocal(config) if arg == 'runlocal' else config
