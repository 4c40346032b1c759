"""A classifier of noisy digits: it guides diffusion models that know no classes, or know them too (arXiv 2105.05233).

    python -m diffusion_jax.train --config=configs/digits_noisy_classifier.py --workdir=runs/digits_classifier
    python -m diffusion_jax.sample --workdir=runs/digits_edm --guidance=classifier:of=runs/digits_classifier,w=1.0 \\
        --cond=label:value=3

Cost: 1.4 CPU minutes.
Expected: a loss of 0.76 over all noise levels; guided with w=2.0, 97 % of digits_edm's samples are what was asked for;
    docs/results/guidance.md.
"""

from configs import digits_edm


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = digits_edm.get_config(arg)
    config.data.condition = 'label'
    config.net.name = 'UNetEncoder'
    # Wider than a denoiser's: from where classes begin to show to where the finished digit lies.
    config.objective = {'name': 'noisy_classification', 'p_t': {'name': 'log_normal', 'P_mean': -0.4, 'P_std': 1.6}}
    return config
