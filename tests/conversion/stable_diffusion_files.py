"""A folder of Stable Diffusion as diffusers saves it, at toy width: values at random, names by our tables.

That the tables are those of diffusers is for test_stable_diffusion.py, which needs PyTorch.
"""

import json

import jax
import numpy as np
from safetensors.numpy import save_file

from diffusion_jax.interop import autoencoder_kl, clip_text, conditional_unet, names
from diffusion_jax.nets import TextUNet, autoencoder, functional
from diffusion_jax.nets.clip_text import CLIPText
from diffusion_jax.nets.layout import adm
from diffusion_jax.types import Part

UNET = {
    '_class_name': 'UNet2DConditionModel',
    'sample_size': 4,
    'block_out_channels': [8, 16],
    'down_block_types': ['CrossAttnDownBlock2D', 'DownBlock2D'],
    'up_block_types': ['UpBlock2D', 'CrossAttnUpBlock2D'],
    'layers_per_block': 1,
    'norm_num_groups': 4,
    'cross_attention_dim': 8,
    'attention_head_dim': 2,
}
VAE = {
    '_class_name': 'AutoencoderKL',
    'block_out_channels': [4, 8],
    'down_block_types': ['DownEncoderBlock2D'] * 2,
    'up_block_types': ['UpDecoderBlock2D'] * 2,
    'norm_num_groups': 2,
}
SCHEDULER = {
    '_class_name': 'PNDMScheduler',
    'beta_start': 0.00085,
    'beta_end': 0.012,
    'beta_schedule': 'scaled_linear',
    'num_train_timesteps': 1000,
    'set_alpha_to_one': False,
    'skip_prk_steps': True,
    'steps_offset': 1,
    'clip_sample': False,
}
WORDS = ['a', 'c', 't', 'r', 'e', 'd', 'a</w>', 't</w>', 'd</w>', 'ca', 'cat</w>', '<|startoftext|>', '<|endoftext|>']
TEXT = {
    'architectures': ['CLIPTextModel'],
    'vocab_size': len(WORDS),
    'hidden_size': 8,
    'intermediate_size': 8,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'max_position_embeddings': 6,
}


def at_random(shapes, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: 0.2 * rng.standard_normal(a.shape).astype(np.float32), shapes)


def weights():
    """Of the U-Net and of the text, by their names; no guidance is told."""
    net, text = conditional_unet.spec('it', UNET), clip_text.spec('it', TEXT)
    sizes = {k: tuple(v) if isinstance(v, list) else v for k, v in net.items() if k not in ('name', 'layout')}
    condition = {'text': Part((6,), len(WORDS), True), 'w': Part((1,))}
    of_text = CLIPText(**{k: v for k, v in text.items() if k != 'name'})
    layout = adm(net['layout']['groups'])
    init, _ = functional(TextUNet(**sizes, layout=layout, out_channels=4, condition=condition, text=of_text))
    shapes = jax.eval_shape(init, jax.random.key(0), np.zeros((1, 4, 4, 4), np.float32), np.zeros(1, np.float32))
    given = names.give_out(conditional_unet.rows(net, shapes, 4, False), at_random(shapes, 0))
    del given['unet.time_embedding.cond_proj.weight']
    parts = {part: {n.removeprefix(part): w for n, w in given.items() if n.startswith(part)} for part in
             (conditional_unet.UNET, conditional_unet.TEXT)}  # fmt: skip
    return parts[conditional_unet.UNET], parts[conditional_unet.TEXT]


def vae_weights():
    found = autoencoder_kl.spec('it', VAE)
    init, _, _ = autoencoder.functional(found)
    shapes = jax.eval_shape(init, jax.random.key(0), np.zeros((1, 2, 2, 3), np.float32))
    return names.give_out(autoencoder_kl.rows(found, shapes), at_random(shapes, 1))


def save(weights, file):
    save_file({name: np.ascontiguousarray(w) for name, w in weights.items()}, file)


def write(folder, unet=None, scheduler=None):
    """The whole folder; `unet` and `scheduler` replace fields of their config.json."""
    for_unet, for_text = weights()
    parts = {
        'unet/config.json': {**UNET, **(unet or {})},
        'text_encoder/config.json': TEXT,
        'vae/config.json': VAE,
        'scheduler/scheduler_config.json': {**SCHEDULER, **(scheduler or {})},
        'tokenizer/vocab.json': {word: i for i, word in enumerate(WORDS)},
        'tokenizer/tokenizer_config.json': {'pad_token': '<|endoftext|>'},
    }
    for name, content in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / 'tokenizer' / 'merges.txt').write_text('#version: 0.2\nc a\nca t</w>\n')
    save(for_unet, folder / 'unet' / 'diffusion_pytorch_model.safetensors')
    save({f'text_model.{n}': w for n, w in for_text.items()}, folder / 'text_encoder' / 'model.safetensors')
    save(vae_weights(), folder / 'vae' / 'diffusion_pytorch_model.safetensors')
    return folder
