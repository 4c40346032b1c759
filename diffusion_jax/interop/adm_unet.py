"""OpenAI's U-Nets of iDDPM, ADM and consistency models: the names of their weights, and what these tell of a network.

The names are those of improved-diffusion, guided-diffusion and consistency_models (`unet.UNetModel`). Weights do not
tell an image's size, nor heads, nor their order: those must be said.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.unet import Architecture, Dialect, Places, multiples
from diffusion_jax.interop.weights_file import looks_like

WHAT = "the weights of OpenAI's U-Net (iDDPM, ADM, consistency models)"
ORDERS = {
    'heads_first': 'heads three dim',  # iDDPM, and ADM's use_new_attention_order=False
    'three_first': 'three heads dim',  # use_new_attention_order=True, and the flash attention of consistency models
}
_LAYERS = {
    'norm_1': 'in_layers.0',
    'conv_1': 'in_layers.2',
    'emb': 'emb_layers.1',
    'norm_2': 'out_layers.0',
    'conv_2': 'out_layers.3',
    'shortcut': 'skip_connection',
    'norm': 'norm',
    'q': 'qkv',
    'k': 'qkv',
    'v': 'qkv',
    'out': 'proj_out',
    'dense_1': 'time_embed.0',
    'dense_2': 'time_embed.2',
    'classes': 'label_emb',
}


class Told(NamedTuple):
    """What the weights do not tell."""

    size: int  # of an image
    heads: int = 1
    head_channels: int | None = None  # instead


def _place(block: str, has_layers: bool, places: Places) -> str:
    """`block` there: a level has so many blocks and what changes the resolution, upwards in its last block."""
    per_level = places.blocks + 1
    match block.split('_'):
        case ['embedding']:
            return ''
        case ['conv', 'in']:
            return 'input_blocks.0.0'
        case ['norm', 'out']:
            return 'out.0'
        case ['conv', 'out']:
            return 'out.2'
        case ['middle', 'block', i]:
            return f'middle_block.{2 * int(i)}'
        case ['middle', 'attention']:
            return 'middle_block.1'
        case ['down', level, 'block' | 'attention' as kind, i]:
            return f'input_blocks.{1 + int(level) * per_level + int(i)}.{int(kind == "attention")}'
        case ['down', level, 'resample']:
            return f'input_blocks.{(1 + int(level)) * per_level}.0' + ('' if has_layers else '.op')
        case ['up', level, 'block' | 'attention' as kind, i]:
            at = (places.levels - 1 - int(level)) * per_level + int(i)
            return f'output_blocks.{at}.{int(kind == "attention")}'
        case ['up', level, 'resample']:
            at = (places.levels - int(level)) * per_level - 1
            return f'output_blocks.{at}.{1 + places.attends[int(level)]}' + ('' if has_layers else '.conv')
    raise KeyError(block)


def dialect(weights: Mapping[str, np.ndarray], order: str) -> Dialect:
    """The names, for attention of this order; its dense layers are convolutions of one axis, or of two."""
    qkv = weights.get('middle_block.1.qkv.weight')
    ones = 1 if qkv is None else max(qkv.ndim - 2, 0)
    return Dialect(_place, _LAYERS, {'shortcut': 2, 'q': ones, 'k': ones, 'v': ones, 'out': ones}, ORDERS[order])


def architecture(where: str, weights: Mapping[str, np.ndarray], told: Told) -> Architecture:
    """The network that these weights are of.

    Args:
        where: they are from, for messages.
        weights: by name.
        told: what they do not tell.

    Raises:
        UserError: for weights of another architecture, saying which it looks like; for one that our blocks have not.
    """
    try:
        return _architecture(where, weights, told)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise UserError(f'{where} should be {WHAT}, and looks like {looks_like(weights)}: no {error}') from error


def _architecture(where: str, weights: Mapping[str, np.ndarray], told: Told) -> Architecture:
    embedded, channels = weights['time_embed.0.weight'].shape
    if embedded != 4 * channels:
        raise UserError(
            f'{where}: the embedding of {channels} sinusoids has {embedded} numbers, and here 4 times as many'
        )
    blocks, levels, in_block = _structure(weights)
    firsts = [1 + level * (blocks + 1) for level in range(levels)]
    widths = [weights[f'input_blocks.{i}.0.out_layers.3.weight'].shape[0] for i in firsts]
    multipliers = multiples(widths, channels)
    if multipliers is None or weights['input_blocks.0.0.weight'].shape[0] != channels:
        raise UserError(f'{where}: the widths {widths} must be whole multiples of {channels}, the first among them')
    attends = [f'input_blocks.{i}.1.qkv.weight' in weights for i in firsts]
    net: dict[str, Any] = {
        'name': 'UNet',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': blocks,
        'attention': [told.size >> level for level, yes in enumerate(attends) if yes],
        'dropout': 0.0,
        'dtype': 'float32',
        **({'head_channels': told.head_channels} if told.head_channels else {'heads': told.heads}),
        'scale_shift': weights['input_blocks.1.0.emb_layers.1.weight'].shape[0] == 2 * widths[0],
        'resample_in_block': in_block,
        'layout': {'name': 'adm'},
    }
    _check_heads(where, net, [w for w, yes in zip(widths, attends, strict=True) if yes] + widths[-1:])
    seen, answered = weights['input_blocks.0.0.weight'].shape[1], weights['out.2.weight'].shape[0]
    if answered not in (seen, 2 * seen):
        raise UserError(
            f'{where} sees {seen} channels and answers {answered}: only as many, or twice as many, are read'
        )
    classes = weights['label_emb.weight'].shape[0] if 'label_emb.weight' in weights else None
    return Architecture(net, (told.size, told.size, seen), classes, answered > seen)


def _structure(weights: Mapping[str, np.ndarray]) -> tuple[int, int, bool]:
    """Blocks of a level, levels, and whether the resolution changes in residual blocks."""
    num = 1 + max(int(m[1]) for name in weights if (m := re.match(r'output_blocks\.(\d+)\.', name)))
    ups = {}
    for name in weights:
        # What follows a block, or its attention, and is no attention itself.
        if m := re.fullmatch(r'output_blocks\.(\d+)\.[12]\.(conv|in_layers\.2)\.weight', name):
            ups[int(m[1])] = m[2] != 'conv'
    per_level = min(ups) + 1 if ups else num
    return per_level - 1, num // per_level, any(ups.values())


def _check_heads(where: str, net: Mapping[str, Any], widths: list[int]) -> None:
    of, what = net.get('head_channels'), 'channels of a head'
    if of is None:
        of, what = net['heads'], 'heads'
    wrong = [width for width in widths if width % of]
    if wrong:
        raise UserError(f'{where}: {of} {what} do not divide the {wrong[0]} channels where it attends')
