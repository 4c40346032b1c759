r"""EDM on clips of moving digits with a transformer: `moving_digits` with another network.

    python -m diffusion_jax.train --config=configs/moving_digits_dit.py --workdir=runs/moving_digits_dit
    python -m experiments.video --workdir=runs/moving_digits_dit

A token is 4x4 pixels of one frame, and every token attends to all 128 of a clip. Its matrices are Muon's.

Cost: 2000 steps of batch 32 in about 27 CPU minutes on 2 shared cores.
Expected: a digit that moves, the one asked for in four of five clips, and changes on the way in most;
    docs/results/video.md.
"""

from configs import common, moving_digits


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = moving_digits.get_config()
    config.net = {'name': 'DiT', 'hidden': 128, 'depth': 6, 'heads': 4, 'patch': (1, 4, 4), 'positions': 'sincos'}
    config.optim.update(name='muon', lr=1e-2)
    config.train.update(batch_size=32, steps=2000, sample_every=2000)
    if arg == 'runlocal':
        config.net.update(hidden=16, depth=2, heads=2)
    return common.runlocal(config) if arg == 'runlocal' else config
