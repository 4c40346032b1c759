r"""Stable Diffusion 1.5 trained further on images with texts, from its own weights.

    python -m diffusion_jax.convert --from=stable_diffusion --in=DIR --workdir=runs/official
    python -m diffusion_jax.train --config=configs/sd15.py --workdir=runs/sd15 --config.init_from=RUN \
        --config.data.autoencoder=DIR/vae --config.data.tokenizer=DIR/tokenizer --config.data.images.dir=DATA
    python -m diffusion_jax.sample --workdir=runs/sd15 --num=4 --cond=prompts:text='a red cat'

RUN is the folder of the conversion, DIR that of diffusers: unet, vae, text_encoder, tokenizer, scheduler.

Cost: not run at its size: 860 million parameters, of images of 512 x 512 in 64 x 64 latents.
Expected: not measured. The network is that of diffusers to 2e-5 at small width (docs/latent_diffusion.md).
"""

from ml_collections import config_dict

from configs import common


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = common.ddpm()
    config.data = {
        'name': 'latents',
        'autoencoder': config_dict.placeholder(str),
        'tokenizer': config_dict.placeholder(str),
        'images': {
            'name': 'captioned',  # as tensorflow-datasets prepared it: images of 512 x 512, and a text each
            'dir': config_dict.placeholder(str),
            'split': 'train',
            'condition': 'caption',
            'text_length': 256,
        },
        'w': config_dict.placeholder(float),
        'drop_cond': 0.1,
        'augment': None,
    }
    config.schedule.betas = {'name': 'scaled_linear_betas', 'T': 1000, 'beta_1': 0.00085, 'beta_T': 0.012}
    config.net = {
        'name': 'TextUNet',
        'channels': 320,
        'multipliers': (1, 2, 4, 4),
        'blocks': 2,
        'attention': (64, 32, 16),
        'dropout': 0.0,
        'dtype': 'float32',
        'layout': {'name': 'adm', 'groups': 32},
        'heads': 8,
        'text': {
            'name': 'CLIPText',
            'vocabulary': 49_408,
            'length': 77,
            'width': 768,
            'layers': 12,
            'heads': 12,
            'mlp': 3072,
            'activation': 'quick_gelu',
        },
    }
    config.optim = {'name': 'adam', 'lr': 1e-5, 'warmup': 1000, 'clip': 1.0, 'anneal': {'name': 'constant'}}
    config.train.update(batch_size=256, steps=50_000, remat='dots_with_no_batch_dims_saveable')
    config.sample.sampler = {'name': 'ddim'}
    config.sample.times = {'name': 'leading', 'n': 50, 'offset': 1, 'last': 1}
    config.sample.guidance = {'name': 'classifier_free', 'w': 7.5}
    config.sample.update(clip=False, num=16, batch_size=4)
    config.eval.update(held_out=config_dict.placeholder(str), bits_num=0, num=5000, batch_size=8)
    return common.runlocal(config) if arg == 'runlocal' else config
