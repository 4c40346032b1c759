"""The names that a UNet2DModel of diffusers has for the weights of our U-Net."""

from collections.abc import Mapping

import numpy as np

from diffusion_jax.interop.unet import Dialect, Places

WHAT = 'the weights of a UNet2DModel of diffusers'
_LAYERS = {
    'norm_1': 'norm1',
    'norm_2': 'norm2',
    'conv_1': 'conv1',
    'conv_2': 'conv2',
    'emb': 'time_emb_proj',
    'shortcut': 'conv_shortcut',
    'norm': 'group_norm',
    'q': 'to_q',
    'k': 'to_k',
    'v': 'to_v',
    'out': 'to_out.0',
    'dense_1': 'linear_1',
    'dense_2': 'linear_2',
    'classes': 'class_embedding',
}
# Before version 0.12 attention's layers had other names, which published files still have.
_OLD = {'query': 'to_q', 'key': 'to_k', 'value': 'to_v', 'proj_attn': 'to_out.0'}


def _place(block: str, has_layers: bool, places: Places) -> str:
    """`block` there."""
    conv = '' if has_layers else '.conv'
    match block.split('_'):
        case ['embedding']:
            return 'time_embedding'
        case ['norm', 'out']:
            return 'conv_norm_out'
        case ['conv', 'in' | 'out']:
            return block
        case ['middle', 'block', i]:
            return f'mid_block.resnets.{i}'
        case ['middle', 'attention']:
            return 'mid_block.attentions.0'
        case ['down', level, 'resample']:
            return f'down_blocks.{level}.downsamplers.0{conv}'
        case ['up', level, 'resample']:
            return f'up_blocks.{places.levels - 1 - int(level)}.upsamplers.0{conv}'
        case ['down', level, 'block' | 'attention' as kind, i]:
            return f'down_blocks.{level}.{_KINDS[kind]}.{i}'
        case ['up', level, 'block' | 'attention' as kind, i]:
            return f'up_blocks.{places.levels - 1 - int(level)}.{_KINDS[kind]}.{i}'
    raise KeyError(block)


_KINDS = {'block': 'resnets', 'attention': 'attentions'}
DIALECT = Dialect(_place, _LAYERS, {'shortcut': 2})


def renamed(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a file under the names of today."""

    def today(name: str) -> str:
        return '.'.join(_OLD.get(part, part) if '.attentions.' in name else part for part in name.split('.'))

    return {today(name): w for name, w in weights.items()}
