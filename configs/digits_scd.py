r"""Continuous-time consistency distillation of digits_edm, on scikit-learn's 8x8 digits.

    python -m diffusion_jax.train --config=configs/digits_scd.py --workdir=runs/digits_scd \
        --config.init_from=runs/digits_edm

Cost: a few minutes on 2 CPU cores.
Expected: Frechet distance (pixels-64, n = 1000) 0.87 with one network evaluation; held-out data have 0.46 (n = 297).
"""

from configs import common, digits_edm, methods


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    # On the 2-D ring a rate of 1e-3 made sCD unstable, and no other method (docs/results/toy_few_step.md).
    config = methods.scd(methods.briefly(digits_edm.get_config(), steps=750, lr=3e-4), warmup=150)
    return common.runlocal(config) if arg == 'runlocal' else config
