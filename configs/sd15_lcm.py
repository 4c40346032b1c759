r"""Latent consistency distillation of Stable Diffusion 1.5: an image of 512 x 512 in one to four evaluations.

    python -m diffusion_jax.train --config=configs/sd15_lcm.py --workdir=runs/sd15_lcm \
        --config.init_from=runs/sd15 \
        --config.data.autoencoder=DIR/vae --config.data.tokenizer=DIR/tokenizer --config.data.images.dir=DATA
    python -m diffusion_jax.sample --workdir=runs/sd15_lcm --num=4 --steps=4 --cond=prompts:text='a red cat'

The teacher is a run of configs/sd15.py, or the conversion of an official checkpoint. The weight of the guidance is a
condition: w = 8 by default, `data.w`, and no guidance is set when it is sampled.

Cost: not run at its size.
Expected: not measured.
"""

from configs import common, sd15


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = sd15.get_config()
    config.data.update(w=8.0, drop_cond=None)
    config.precond = {'name': 'boundary', 'of': {'name': 'eps'}}
    config.objective = {
        'name': 'latent_consistency',
        # 50 points of the table, k = 20, 40 .. 1000, each with the one before it.
        'pairs': {'name': 'neighbours', 'grid': {'name': 'leading', 'n': 50, 'offset': 19, 'last': 1}},
        'distance': {'name': 'l2'},
        'pair_weight': {'name': 'uniform'},
    }
    config.frozen = {'name': 'moving_target', 'decay': {'name': 'constant_decay', 'mu': 0.95}}
    config.optim.update(lr=1e-6, warmup=500)
    config.train.update(batch_size=96, steps=10_000)
    config.sample.sampler = {'name': 'renoise'}
    config.sample.times = {'name': 'trailing', 'n': 4, 'among': 50}
    config.sample.guidance = None
    return common.runlocal(config) if arg == 'runlocal' else config
