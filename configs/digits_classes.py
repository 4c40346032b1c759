"""EDM on scikit-learn's 8x8 digits under their classes, a tenth of the labels dropped: for guidance.

    python -m diffusion_jax.train --config=configs/digits_classes.py --workdir=runs/digits_classes
    python -m diffusion_jax.sample --workdir=runs/digits_classes --guidance=classifier_free:w=2.0 --cond=label:value=3

Cost: about three minutes on 2 CPU cores.
Expected: samples of the digit that was asked for; docs/results/guidance.md has the figures.
"""

from configs import digits_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = digits_edm.get_config(arg)
    config.data.condition = 'label'
    config.data.drop_cond = 0.1
    return config
