r"""Distribution matching distillation of digits_edm, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_dmd.py --workdir=runs/digits_dmd \
        --config.init_from=runs/digits_edm

Cost: not measured yet; a step is one update of the generator and five of the fake score.
Expected: not measured yet.
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.dmd(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
