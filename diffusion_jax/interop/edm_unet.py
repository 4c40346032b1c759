"""EDM's networks, SongUNet of the DDPM++ kind and DhariwalUNet: the names of their weights, which tell all of them.

The names are those of NVlabs/edm, training/networks.py. NCSN++ is refused: its filters, features and encoder are no
settings of our blocks.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.names import CLASSES_IN_COLUMNS
from diffusion_jax.interop.unet import Architecture, Dialect, Places, multiples
from diffusion_jax.interop.weights_file import looks_like

WHAT = 'the weights of a network of EDM (SongUNet or DhariwalUNet)'
_PER_HEAD = 64  # channels of DhariwalUNet's heads; SongUNet has one head
_LAYERS = {
    'norm_1': 'norm0',
    'conv_1': 'conv0',
    'emb': 'affine',
    'norm_2': 'norm1',
    'conv_2': 'conv1',
    'shortcut': 'skip',
    'norm': 'norm2',
    'q': 'qkv',
    'k': 'qkv',
    'v': 'qkv',
    'out': 'proj',
    'dense_1': 'map_layer0',
    'dense_2': 'map_layer1',
    'classes': 'map_label',
}


def _place(song: bool, block: str, has_layers: bool, places: Places) -> str:
    """`block` there: attention is part of the block before it, and a level begins with its change of resolution."""

    def res(level: int) -> str:
        side = places.height >> level
        return f'{side}x{side}'

    last = places.levels - 1
    match block.split('_'):
        case ['embedding']:
            return ''
        case ['conv', 'in']:
            return f'enc.{res(0)}_conv'
        case ['norm', 'out']:
            return f'dec.{res(0)}_aux_norm' if song else 'out_norm'
        case ['conv', 'out']:
            return f'dec.{res(0)}_aux_conv' if song else 'out_conv'
        case ['middle', 'block', i]:
            return f'dec.{res(last)}_in{i}'
        case ['middle', 'attention']:
            return f'dec.{res(last)}_in0'
        case ['down', level, 'block' | 'attention', i]:
            return f'enc.{res(int(level))}_block{i}'
        case ['down', level, 'resample']:
            return f'enc.{res(int(level) + 1)}_down'
        case ['up', level, 'block' | 'attention', i]:
            return f'dec.{res(int(level))}_block{i}'
        case ['up', level, 'resample']:
            return f'dec.{res(int(level) - 1)}_up'
    raise KeyError(block)


def bare(where: str, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that a sample depends on, without the preconditioning's prefix.

    Filters are left out once they are found to be means of 2x2 pixels, and so is `map_augment`: a sample is told no
    augmentation.

    Raises:
        UserError: for other filters, or Fourier features: NCSN++.
    """
    inner = {name.removeprefix('model.'): w for name, w in weights.items()}
    filters = {name for name in inner if name.endswith('.resample_filter')}
    other = [name for name in filters if inner[name].shape != (1, 1, 2, 2) or np.ptp(inner[name])]
    other += [name for name in inner if name == 'map_noise.freqs' or '_aux_down' in name or '_aux_residual' in name]
    if other:
        raise UserError(f'{where} is of the NCSN++ kind ({min(other)}), and of EDM only DDPM++ and ADM are read')
    return {name: w for name, w in inner.items() if name not in filters and name != 'map_augment.weight'}


def architecture(where: str, weights: Mapping[str, np.ndarray]) -> tuple[Architecture, Dialect]:
    """The network that these weights are of, and its names.

    Raises:
        UserError: for weights of another architecture, saying which it looks like; for one that our blocks have not.
    """
    try:
        return _architecture(where, weights)
    except (KeyError, ValueError) as error:
        raise UserError(f'{where} should be {WHAT}, and looks like {looks_like(weights)}: no {error}') from error


def _architecture(where: str, weights: Mapping[str, np.ndarray]) -> tuple[Architecture, Dialect]:
    sides = sorted({int(m[1]) for name in weights if (m := re.match(r'enc\.(\d+)x\1_', name))}, reverse=True)
    top, song = f'{sides[0]}x{sides[0]}' if sides else 'enc', 'out_norm.weight' not in weights
    channels, seen = weights[f'enc.{top}_conv.weight'].shape[:2]
    blocks = sum(re.fullmatch(rf'enc\.{top}_block\d+\.conv0\.weight', name) is not None for name in weights)
    firsts = [f'enc.{side}x{side}_block0' for side in sides]
    multipliers = multiples([weights[f'{first}.conv1.weight'].shape[0] for first in firsts], channels)
    if multipliers is None or weights['map_layer0.weight'].shape != (4 * channels, channels):
        raise UserError(f'{where}: the widths, and the embedding 4 times, must be whole multiples of {channels}')
    if song and 'map_label.weight' in weights:
        raise UserError(f"{where}: a SongUNet's classes are told among its sinusoids, which our blocks cannot do")
    net: dict[str, Any] = {
        'name': 'UNet',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': blocks,
        'attention': [side for side, first in zip(sides, firsts, strict=True) if f'{first}.qkv.weight' in weights],
        'dropout': 0.0,
        'dtype': 'float32',
        **({} if song else {'head_channels': _PER_HEAD, 'scale_shift': True}),
        'resample_in_block': True,
        'layout': {'name': 'song' if song else 'dhariwal'},
    }
    classes = weights['map_label.weight'].shape[1] if 'map_label.weight' in weights else None
    ones = {name: 2 for name in ('shortcut', 'q', 'k', 'v', 'out')}
    place = functools.partial(_place, song)
    dialect = Dialect(place, _LAYERS, ones, 'heads dim three', CLASSES_IN_COLUMNS)
    return Architecture(net, (sides[0], sides[0], seen), classes, False), dialect
