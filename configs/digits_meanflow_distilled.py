r"""MeanFlow of digits_edm's velocity, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_meanflow_distilled.py --workdir=runs/digits_mfd \
        --config.init_from=runs/digits_edm

Cost: a few minutes on 2 CPU cores.
Expected: TODO
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.mean_flow_distillation(methods.briefly(digits_edm.get_config(), steps=750))
    return common.runlocal(config) if arg == 'runlocal' else config
