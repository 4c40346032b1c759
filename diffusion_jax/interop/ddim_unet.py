"""The U-Net of DDIM's release in PyTorch: the names of its weights, which tell all of it but an image's size.

The names are those of ermongroup/ddim, models/diffusion.py.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.unet import Architecture, Dialect, Places, multiples
from diffusion_jax.interop.weights_file import looks_like

WHAT = "the weights of DDIM's U-Net (ermongroup/ddim)"
_LAYERS = {
    'norm_1': 'norm1',
    'conv_1': 'conv1',
    'emb': 'temb_proj',
    'norm_2': 'norm2',
    'conv_2': 'conv2',
    'shortcut': 'nin_shortcut',
    'norm': 'norm',
    'q': 'q',
    'k': 'k',
    'v': 'v',
    'out': 'proj_out',
    'dense_1': 'dense.0',
    'dense_2': 'dense.1',
}


def _place(block: str, has_layers: bool, places: Places) -> str:
    del has_layers, places
    match block.split('_'):
        case ['embedding']:
            return 'temb'
        case ['conv' | 'norm', 'in' | 'out']:
            return block
        case ['middle', 'block', i]:
            return f'mid.block_{int(i) + 1}'
        case ['middle', 'attention']:
            return 'mid.attn_1'
        case [way, level, 'block', i]:
            return f'{way}.{level}.block.{i}'
        case [way, level, 'attention', i]:
            return f'{way}.{level}.attn.{i}'
        case [way, level, 'resample']:
            return f'{way}.{level}.{way}sample.conv'
    raise KeyError(block)


DIALECT = Dialect(_place, _LAYERS, {name: 2 for name in ('shortcut', 'q', 'k', 'v', 'out')})


def architecture(where: str, weights: Mapping[str, np.ndarray], size: int) -> Architecture:
    """The network that these weights are of, for images of this size.

    Raises:
        UserError: for weights of another architecture, saying which it looks like; for one that our blocks have not.
    """
    try:
        channels, seen = weights['conv_in.weight'].shape[:2]
        levels = 1 + max(int(m[1]) for name in weights if (m := re.match(r'down\.(\d+)\.', name)))
        blocks = sum(re.fullmatch(r'down\.0\.block\.\d+\.conv1\.weight', name) is not None for name in weights)
        widths = [weights[f'down.{level}.block.0.conv1.weight'].shape[0] for level in range(levels)]
        answered = len(weights['conv_out.bias'])
    except (KeyError, ValueError) as error:
        raise UserError(f'{where} should be {WHAT}, and looks like {looks_like(weights)}: no {error}') from error
    multipliers = multiples(widths, channels)
    if multipliers is None or answered != seen:
        raise UserError(
            f'{where}: the widths {widths} must be whole multiples of {channels}, and {seen} channels be answered, '
            'as are seen'
        )
    attends = [f'down.{level}.attn.0.q.weight' in weights for level in range(levels)]
    net: dict[str, Any] = {
        'name': 'UNet',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': blocks,
        'attention': [size >> level for level, yes in enumerate(attends) if yes],
        'dropout': 0.0,
        'dtype': 'float32',
        'layout': {'name': 'Layout', 'groups': 32},
    }
    return Architecture(net, (size, size, seen), None, False)
