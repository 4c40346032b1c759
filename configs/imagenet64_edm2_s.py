"""EDM2 on ImageNet-64, size S, in pixels (arXiv 2312.02696, config G; the released preset edm2-img64-s).

The network, the noise, the loss with its learned u(sigma), the rate and the averages as in the released code, which
trains on pictures cropped and shrunk by itself, in float16, and replaces gradients that are not finite by zeros: here
they are tensorflow-datasets' 64x64, in float32 (set `--config.net.dtype=bfloat16`), and the first such gradient ends
the run (set `--config.train.max_skips=10`). Snapshots of two averages are kept for `sample` and `evaluate --ema`.

    python -m diffusion_jax.train --config=configs/imagenet64_edm2_s.py --workdir=runs/imagenet64_edm2 \
        --config.data.dir=DIR

Cost: 524,288 steps of batch 2048, 2^30 images.
Expected: FID 1.58 with 63 network evaluations and an average of length 0.075 (generate_images.py of the released code).
Not run here: no number of ours is claimed, and what a step takes is not measured.
"""

from ml_collections import config_dict

from configs import common

_BATCH, _IMAGES = 2048, 2**30


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.edm()
    config.data.update(name='imagenet_resized/64x64', condition='label')
    config.net = {
        'name': 'EDM2',
        'channels': 192,
        'multipliers': (1, 2, 3, 4),
        'blocks': 3,
        'attention': (16, 8),
        'dropout': 0.0,
        'head_channels': 64,
        'dtype': 'float32',
    }
    config.objective.p_t.update(P_mean=-0.8, P_std=1.6)
    config.objective.adaptive_weight = {'name': 'uncertainty'}
    config.optim = {
        'name': 'adam',
        'lr': 0.01,
        'b1': 0.9,
        'b2': 0.99,
        'eps': 1e-8 / (64 * 64 * 3),  # its loss is a sum over an image's numbers, and ours the mean
        'warmup': round(10e6 / _BATCH),
        'clip': config_dict.placeholder(float),
        'anneal': {'name': 'inverse_sqrt', 'after': 35_000},
        'forced_norm': True,
    }
    config.ema = {'name': 'power', 'sigma_rel': 0.1}
    config.train.update(batch_size=_BATCH, steps=_IMAGES // _BATCH, ema_every=4096, ema_tracks=(0.05, 0.1))
    config.sample.times.n = 32
    config.eval.held_out = 'validation'
    return common.runlocal(config) if arg == 'runlocal' else config
