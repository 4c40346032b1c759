"""EDM on scikit-learn's 8x8 digits: the teacher of digits_cd, digits_ect and others.

    python -m diffusion_jax.train --config=configs/digits_edm.py --workdir=runs/digits_edm

Cost: about two minutes on 2 CPU cores.
Expected: Frechet distance (pixels-64, n = 1000) 0.24 with 35 network evaluations; held-out data have 0.46 (n = 297).
"""

from configs import common, quickstart


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.on_data_of(common.edm(), quickstart.get_config())
    return common.runlocal(config) if arg == 'runlocal' else config
