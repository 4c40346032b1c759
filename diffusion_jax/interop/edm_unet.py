"""EDM's networks, SongUNet (DDPM++ and NCSN++) and DhariwalUNet: the names of their weights, which tell all of them.

The names are those of NVlabs/edm, training/networks.py.
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
from diffusion_jax.nets.layout import ncsnpp, song

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
# Of a SongUNet alone.
_OTHERS = {('embedding', 'frequencies'): 'map_noise.freqs', ('embedding', 'classes_bias'): 'map_label.bias'}


def place(is_song: bool, encoder: str, block: str, has_layers: bool, places: Places) -> str:
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
            return f'dec.{res(0)}_aux_norm' if is_song else 'out_norm'
        case ['conv', 'out']:
            return f'dec.{res(0)}_aux_conv' if is_song else 'out_conv'
        case ['middle', 'block', i]:
            return f'dec.{res(last)}_in{i}'
        case ['middle', 'attention']:
            return f'dec.{res(last)}_in0'
        case ['down', level, 'block' | 'attention', i]:
            return f'enc.{res(int(level))}_block{i}'
        case ['down', level, 'aux']:
            return f'enc.{res(int(level) + 1)}_aux_{encoder}'
        case ['down', level, 'resample']:
            return f'enc.{res(int(level) + 1)}_down'
        case ['up', level, 'block' | 'attention', i]:
            return f'dec.{res(int(level))}_block{i}'
        case ['up', level, 'norm' | 'conv' as kind, 'out']:
            return f'dec.{res(int(level))}_aux_{kind}'
        case ['up', level, 'resample']:
            return f'dec.{res(int(level) - 1)}_up'
    raise KeyError(block)


def bare(where: str, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that a sample depends on, without the preconditioning's prefix.

    Filters are left out once they are found to be one of two, and so is `map_augment`: a sample is told no
    augmentation.

    Raises:
        UserError: for other filters.
    """
    inner = {name.removeprefix('model.'): w for name, w in weights.items()}
    levels = inner.pop('u', None)  # iDDPM's, whose networks also answer a variance, which nobody has trained
    for name in [n for n in inner if levels is not None and re.search(r'(_aux_|^out_)conv\.(weight|bias)$', n)]:
        inner[name] = inner[name][: len(inner[name]) // 2]
    filters = {name for name in inner if name.endswith('.resample_filter')}
    known = [_filter(1, 3, 3, 1) if smooth(weights) else _filter(1, 1)]
    other = [n for n in filters if not any(inner[n].shape == f.shape and np.allclose(inner[n], f) for f in known)]
    if other:
        raise UserError(f'{where}: {min(other)} is neither that of [1, 1] nor of [1, 3, 3, 1] as all the others')
    return {name: w for name, w in inner.items() if name not in filters and name != 'map_augment.weight'}


def smooth(weights: Mapping[str, np.ndarray]) -> bool:
    """Whether the resolution changes through the filter [1, 3, 3, 1], by the first one that is there."""
    return next((w.shape[-1] == 4 for n, w in weights.items() if n.endswith('.resample_filter')), False)


def _filter(*taps: int) -> np.ndarray:
    return np.outer(taps, taps)[None, None].astype(np.float32) / sum(taps) ** 2


def architecture(where: str, weights: Mapping[str, np.ndarray], fir: bool) -> tuple[Architecture, Dialect]:
    """The network that these weights are of, and its names.

    Args:
        where: they are from, for messages.
        weights: bare.
        fir: as `smooth` says.

    Raises:
        UserError: for weights of another architecture, saying which it looks like; for one that our blocks have not.
    """
    try:
        return _architecture(where, weights, fir)
    except (KeyError, ValueError) as error:
        raise UserError(f'{where} should be {WHAT}, and looks like {looks_like(weights)}: no {error}') from error


def _architecture(where: str, weights: Mapping[str, np.ndarray], fir: bool) -> tuple[Architecture, Dialect]:
    sides = sorted({int(m[1]) for name in weights if (m := re.match(r'enc\.(\d+)x\1_', name))}, reverse=True)
    top, is_song = f'{sides[0]}x{sides[0]}' if sides else 'enc', 'out_norm.weight' not in weights
    channels, seen = weights[f'enc.{top}_conv.weight'].shape[:2]
    blocks = sum(re.fullmatch(rf'enc\.{top}_block\d+\.conv0\.weight', name) is not None for name in weights)
    firsts = [f'enc.{side}x{side}_block0' for side in sides]
    multipliers = multiples([weights[f'{first}.conv1.weight'].shape[0] for first in firsts], channels)
    fourier = 'map_noise.freqs' in weights
    if multipliers is None or weights['map_layer0.weight'].shape != (4 * channels, channels * (1 + fourier)):
        raise UserError(f'{where}: the widths, and the embedding 4 times, must be whole multiples of {channels}')
    net: dict[str, Any] = {
        'name': 'UNet',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': blocks,
        'attention': [side for side, first in zip(sides, firsts, strict=True) if f'{first}.qkv.weight' in weights],
        'dropout': 0.0,
        'dtype': 'float32',
        **({} if is_song else {'head_channels': _PER_HEAD, 'scale_shift': True}),
        'resample_in_block': True,
        'layout': _layout(weights, fir, fourier) if is_song else {'name': 'dhariwal'},
    }
    classes = weights['map_label.weight'].shape[1] if 'map_label.weight' in weights else None
    ones = {name: 2 for name in ('shortcut', 'q', 'k', 'v', 'out')}
    encoder = 'residual' if net['layout']['name'] == 'ncsnpp' else net['layout'].get('encoder', 'standard')
    dialect = Dialect(
        functools.partial(place, is_song, encoder), _LAYERS, ones, 'heads dim three', CLASSES_IN_COLUMNS, _OTHERS
    )
    return Architecture(net, (sides[0], sides[0], seen), classes, False), dialect


def _layout(weights: Mapping[str, np.ndarray], fir: bool, fourier: bool) -> dict[str, Any]:
    beside = [kind for kind in ('residual', 'skip') if any(f'_aux_{kind}.' in name for name in weights)]
    options: dict[str, Any] = {'fir': True} if fir else {}
    options |= {'fourier': 16.0} if fourier else {}
    options |= {'encoder': beside[0]} if beside else {}
    options |= {'decoder': 'skip'} if sum('_aux_conv.bias' in name for name in weights) > 1 else {}
    return {'name': 'ncsnpp'} if song(**options) == ncsnpp() else {'name': 'song', **options}
