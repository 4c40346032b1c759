"""NCSN++ and DDPM++ of score_sde and of the JAX release of consistency models: the names of their Flax weights.

Modules are numbered in the order in which they are called. Weights tell neither an image's size nor the filter: images
of 16 x 16 pixels are attended to, and NCSN++, known by its frequencies, has the filter [1, 3, 3, 1], as in their models
of CIFAR-10.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.names import Form, flat
from diffusion_jax.interop.unet import Architecture, Dialect, Places, multiples
from diffusion_jax.interop.weights_file import looks_like
from diffusion_jax.nets.layout import ncsnpp, song

WHAT = 'the weights of an NCSN++ of score_sde or of its consistency models in JAX'
_ATTENDS = 16  # pixels along an axis
_BLOCK, _ATTENTION = 'ResnetBlockBigGANpp', 'AttnBlockpp'
_LEAVES = {'kernel': 'weight', 'scale': 'weight', 'W': 'weight', 'b': 'bias'}
_LAYERS = {
    'norm_1': 'GroupNorm_0',
    'conv_1': 'Conv_0',
    'emb': 'Dense_0',
    'norm_2': 'GroupNorm_1',
    'conv_2': 'Conv_1',
    'shortcut': 'Conv_2',
    'norm': 'GroupNorm_0',
    'q': 'NIN_0',
    'k': 'NIN_1',
    'v': 'NIN_2',
    'out': 'NIN_3',
    'dense_1': 'Dense_0',
    'dense_2': 'Dense_1',
}


def _place(block: str, has_layers: bool, places: Places) -> str:
    """`block` there: downwards, the middle and upwards, blocks and attention are counted each through all levels."""
    del has_layers
    levels, blocks, attends = places.levels, places.blocks, places.attends
    middle = levels * (blocks + 1) - 1  # so many residual blocks before it
    match block.split('_'):
        case ['embedding']:
            return ''
        case ['conv', 'in']:
            return 'Conv_0'
        case ['norm', 'out']:
            return 'GroupNorm_0'
        case ['conv', 'out']:
            return 'Conv_1'
        case ['down', level, 'aux']:
            return f'Downsample_{level}.Conv2d_0'
        case ['down', level, 'block', i]:
            return f'{_BLOCK}_{int(level) * (blocks + 1) + int(i)}'
        case ['down', level, 'resample']:
            return f'{_BLOCK}_{int(level) * (blocks + 1) + blocks}'
        case ['down', level, 'attention', i]:
            return f'{_ATTENTION}_{blocks * sum(attends[: int(level)]) + int(i)}'
        case ['middle', 'block', i]:
            return f'{_BLOCK}_{middle + int(i)}'
        case ['middle', 'attention']:
            return f'{_ATTENTION}_{blocks * sum(attends)}'
        case ['up', level, 'block', i]:
            return f'{_BLOCK}_{middle + 2 + (levels - 1 - int(level)) * (blocks + 2) + int(i)}'
        case ['up', level, 'resample']:
            return f'{_BLOCK}_{middle + 2 + (levels - 1 - int(level)) * (blocks + 2) + blocks + 1}'
        case ['up', level, 'attention', _]:
            return f'{_ATTENTION}_{blocks * sum(attends) + 1 + sum(attends[int(level) + 1 :])}'
    raise KeyError(block)


def _kernel(ones: int = 0) -> Form:
    """`[*window, in, out]` as here, behind axes of size one."""
    return Form(lambda w: (w.reshape(w.shape[ones:]),), lambda parts: parts[0].reshape(*(1,) * ones, *parts[0].shape))


DIALECT = Dialect(
    _place, _LAYERS, {'shortcut': 2}, others={('embedding', 'frequencies'): 'GaussianFourierProjection_0.weight'},
    kernel=_kernel,
)  # fmt: skip


def bare(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The averaged weights of a checkpoint, or those that are all of it, under names with 'weight' and 'bias'."""
    tree = tree.get('params_ema', tree.get('params', tree))
    named = {'.'.join((*path, _LEAVES.get(last, last))): np.asarray(w) for (*path, last), w in flat(tree).items()}
    return {name: w for name, w in named.items() if w.ndim}


def architecture(where: str, weights: Mapping[str, np.ndarray], size: int) -> Architecture:
    """The network that these weights are of, for images of this size.

    Raises:
        UserError: for weights of another architecture, saying which it looks like; for one that our blocks have not.
    """
    try:
        channels, seen = weights['Conv_0.weight'].shape[::-1][:2]
        num = 1 + max(int(m[1]) for name in weights if (m := re.match(rf'{_BLOCK}_(\d+)\.', name)))
        shortcuts = [weights.get(f'{_BLOCK}_{i}.Conv_2.weight', np.zeros((0, 1))).shape[-2:] for i in range(num)]
        # Blocks that change the resolution alone have a dense layer in their shortcut though the width stays.
        levels = 1 + sum(a == b for a, b in shortcuts) // 2
        blocks, rest = divmod(num - 3 * levels, 2 * levels)
        firsts = [f'{_BLOCK}_{level * (blocks + 1)}.Conv_1.weight' for level in range(levels)]
        widths = [weights[first].shape[-1] for first in firsts]
        answered = weights['Conv_1.weight'].shape[-1]
    except (KeyError, ValueError) as error:
        raise UserError(f'{where} should be {WHAT}, and looks like {looks_like(weights)}: no {error}') from error
    multipliers = multiples(widths, channels)
    attends = [size >> level == _ATTENDS for level in range(levels)]
    attentions = sum(name.startswith(_ATTENTION) and name.endswith('NIN_0.weight') for name in weights)
    if multipliers is None or rest or answered != seen or attentions != (blocks + 1) * sum(attends) + 1:
        raise UserError(
            f'{where}: {num} blocks of widths {widths} with {attentions} attentions and {answered} channels answered '
            f'are no NCSN++ of {size} pixels that attends at {_ATTENDS}: set the --size that it was trained for'
        )
    residual = any(name.startswith('Downsample_') for name in weights)
    fourier = 'GaussianFourierProjection_0.weight' in weights
    layout = song(**({'fir': True, 'fourier': 16.0} if fourier else {}), encoder='residual' if residual else 'standard')
    if layout not in (song(), ncsnpp()):
        raise UserError(f'{where} is neither an NCSN++ nor a DDPM++ as they were published')
    net: dict[str, Any] = {
        'name': 'UNet',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': blocks,
        'attention': [_ATTENDS] if any(attends) else [],
        'dropout': 0.0,
        'dtype': 'float32',
        'resample_in_block': True,
        'layout': {'name': 'ncsnpp' if fourier else 'song'},
    }
    return Architecture(net, (size, size, seen), None, False)
