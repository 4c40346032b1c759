"""Checkpoints as other programs write them: names and shapes listed from their modules' structure, values at random."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SCHEDULER = {
    '_class_name': 'DDPMScheduler',
    '_diffusers_version': '0.1.1',
    'num_train_timesteps': 1000,
    'beta_start': 0.0001,
    'beta_end': 0.02,
    'beta_schedule': 'linear',
    'clip_sample': True,
    'variance_type': 'fixed_large',
}


def unet2d_config(**changes):
    """A small network of google/ddpm-cifar10-32's kind."""
    return {
        '_class_name': 'UNet2DModel',
        '_diffusers_version': '0.0.4',
        'act_fn': 'silu',
        'attention_head_dim': None,
        'block_out_channels': [16, 32],
        'center_input_sample': False,
        'down_block_types': ['DownBlock2D', 'AttnDownBlock2D'],
        'downsample_padding': 0,
        'flip_sin_to_cos': False,
        'freq_shift': 1,
        'in_channels': 3,
        'layers_per_block': 1,
        'mid_block_scale_factor': 1,
        'norm_eps': 1e-06,
        'norm_num_groups': 8,
        'out_channels': 3,
        'sample_size': 8,
        'time_embedding_type': 'positional',
        'up_block_types': ['AttnUpBlock2D', 'UpBlock2D'],
        **changes,
    }


def unet2d_shapes(config):
    """The state dict of a UNet2DModel, by the structure of diffusers' modules."""
    widths, blocks = config['block_out_channels'], config['layers_per_block']
    last, e = len(widths) - 1, 4 * widths[0]
    found = {}

    def layer(name, *weight):
        found[f'{name}.weight'], found[f'{name}.bias'] = weight, weight[:1]

    def resnet(name, a, b):
        layer(f'{name}.norm1', a)
        layer(f'{name}.conv1', b, a, 3, 3)
        layer(f'{name}.time_emb_proj', b, e)
        layer(f'{name}.norm2', b)
        layer(f'{name}.conv2', b, b, 3, 3)
        if a != b:
            layer(f'{name}.conv_shortcut', b, a, 1, 1)

    def attention(name, c):
        layer(f'{name}.group_norm', c)
        for one in ('to_q', 'to_k', 'to_v', 'to_out.0'):
            layer(f'{name}.{one}', c, c)

    layer('conv_in', widths[0], config['in_channels'], 3, 3)
    layer('time_embedding.linear_1', e, widths[0])
    layer('time_embedding.linear_2', e, e)
    if config.get('num_class_embeds'):
        found['class_embedding.weight'] = (config['num_class_embeds'], e)
    skips = [widths[0]]
    for i, (kind, c) in enumerate(zip(config['down_block_types'], widths, strict=True)):
        for j in range(blocks):
            resnet(f'down_blocks.{i}.resnets.{j}', skips[-1], c)
            if kind.startswith('Attn'):
                attention(f'down_blocks.{i}.attentions.{j}', c)
            skips.append(c)
        if i < last:
            layer(f'down_blocks.{i}.downsamplers.0.conv', c, c, 3, 3)
            skips.append(c)
    for j in (0, 1):
        resnet(f'mid_block.resnets.{j}', widths[-1], widths[-1])
    attention('mid_block.attentions.0', widths[-1])
    h = widths[-1]
    for i, (kind, c) in enumerate(zip(config['up_block_types'], widths[::-1], strict=True)):
        for j in range(blocks + 1):
            resnet(f'up_blocks.{i}.resnets.{j}', h + skips.pop(), c)
            h = c
            if kind.startswith('Attn'):
                attention(f'up_blocks.{i}.attentions.{j}', c)
        if i < last:
            layer(f'up_blocks.{i}.upsamplers.0.conv', c, c, 3, 3)
    layer('conv_norm_out', widths[0])
    layer('conv_out', config['out_channels'], widths[0], 3, 3)
    return found


def random_weights(shapes, seed=0):
    rng = np.random.default_rng(seed)

    def draw(name, shape):
        scale = 0.2 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))
        return (('norm' in name and name.endswith('weight')) + scale * rng.standard_normal(shape)).astype(np.float32)

    return {name: draw(name, shape) for name, shape in shapes.items()}


def write_diffusers(folder: Path, config=None, weights=None, scheduler=SCHEDULER):
    """A folder with all at its top, as google/ddpm-cifar10-32 is; returns the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config or unet2d_config()
    weights = random_weights(unet2d_shapes(config)) if weights is None else weights
    (folder / 'config.json').write_text(json.dumps(config))
    save_file(weights, folder / 'diffusion_pytorch_model.safetensors', {'format': 'pt'})
    if scheduler:
        (folder / 'scheduler_config.json').write_text(json.dumps(scheduler))
    return weights
