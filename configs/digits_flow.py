"""Flow matching on scikit-learn's 8x8 digits: a velocity along straight paths from noise to data.

    python -m diffusion_jax.train --config=configs/digits_flow.py --workdir=runs/digits_flow

Cost: 3.2 CPU minutes.
Expected: Frechet distance (pixels-64, n = 1000, seed 0) 0.194 ± 0.022 with 35 network evaluations; held-out data have
    0.46 (n = 297).
"""

from configs import common, quickstart


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.on_data_of(common.flow(), quickstart.get_config())
    return common.runlocal(config) if arg == 'runlocal' else config
