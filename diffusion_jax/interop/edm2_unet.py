"""EDM2's networks: the names of their weights, which tell all of them but a few numbers that the file says of itself.

The names are those of NVlabs/edm2, training/networks_edm2.py.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.edm_unet import place
from diffusion_jax.interop.names import AS_IT_IS, Form, Row, Tree, flat, kernel, query_key_value
from diffusion_jax.interop.unet import Architecture, Places, in_order, multiples
from diffusion_jax.interop.weights_file import looks_like

WHAT = 'the weights of a network of EDM2'
# What the weights do not tell, with what it is in the published networks.
_SAID = {
    'head_channels': 64,
    'res_balance': 0.3,
    'attn_balance': 0.3,
    'label_balance': 0.5,
    'concat_balance': 0.5,
    'clip': 256.0,
    'sigma_data': 0.5,
}
_LAYERS = {
    'conv_1': 'conv_res0',
    'emb': 'emb_linear',
    'conv_2': 'conv_res1',
    'shortcut': 'conv_skip',
    'q': 'attn_qkv',
    'k': 'attn_qkv',
    'v': 'attn_qkv',
    'out': 'attn_proj',
}
_DENSE_THERE = ('emb',)  # the other dense layers of a block are convolutions of one pixel there
_OTHERS = {
    ('fourier', 'frequencies'): 'unet.emb_fourier.freqs',
    ('fourier', 'phases'): 'unet.emb_fourier.phases',
    ('noise', 'mp_direction'): 'unet.emb_noise.weight',
    ('classes', 'mp_direction'): 'unet.emb_label.weight',
    ('gain',): 'unet.out_gain',
    ('log_weight', 'fourier', 'frequencies'): 'logvar_fourier.freqs',
    ('log_weight', 'fourier', 'phases'): 'logvar_fourier.phases',
    ('log_weight', 'out', 'mp_direction'): 'logvar_linear.weight',
}


def said(where: str, about: Mapping[str, str]) -> dict[str, Any]:
    """The numbers that weights do not tell: `net` settings and `sigma_data`.

    Args:
        where: the file, for messages.
        about: what it says of itself, see docs/networks.md; the published ones for what it does not say.

    Raises:
        UserError: for what is no number.
    """
    found = {}
    for name, published in _SAID.items():
        text = about.get(name, str(published))
        try:
            found[name] = type(published)(text)
        except ValueError as error:
            raise UserError(f'{where} says {name}={text}, which is no number of that kind') from error
    return found


def architecture(where: str, weights: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Architecture:
    """The network that these weights are of, with settings that they do not tell.

    Raises:
        UserError: for weights of another architecture, saying which it looks like; for widths that our blocks have not.
    """
    try:
        sides = sorted({int(m[1]) for n in weights if (m := re.match(r'unet\.enc\.(\d+)x\1_', n))}, reverse=True)
        top = f'unet.enc.{sides[0]}x{sides[0]}' if sides else 'unet.enc'
        channels, seen = weights[f'{top}_conv.weight'].shape[:2]
        firsts = [f'unet.enc.{side}x{side}_block0' for side in sides]
        widths = [len(weights[f'{first}.conv_res1.weight']) for first in firsts]
        told = weights['unet.emb_noise.weight'].shape
        classes = weights['unet.emb_label.weight'].shape[1] if 'unet.emb_label.weight' in weights else None
    except (KeyError, ValueError) as error:
        raise UserError(f'{where} should be {WHAT}, and looks like {looks_like(weights)}: no {error}') from error
    multipliers = multiples(widths, channels)
    if multipliers is None or told != (max(widths), channels):
        raise UserError(
            f'{where}: the widths must be whole multiples of {channels}, and the embedding as wide as the widest of '
            f'them, {max(widths)}, of {channels} waves, not {told[0]} of {told[1]}'
        )
    net: dict[str, Any] = {
        'name': 'EDM2',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': sum(re.fullmatch(rf'{re.escape(top)}_block\d+\.conv_res0\.weight', n) is not None for n in weights),
        'attention': [side for side, first in zip(sides, firsts, strict=True) if f'{first}.attn_qkv.weight' in weights],
        'dropout': 0.0,
        'dtype': 'float32',
        **{name: value for name, value in settings.items() if name != 'sigma_data'},
    }
    # The last channel that it sees is of ones.
    return Architecture(net, (sides[0], sides[0], seen - 1), classes, False, latents=seen - 1 == 4)


def table(of: Architecture, shapes: Tree) -> list[Row]:
    """The rows of a network, whose parameters have these shapes, and of its u(sigma)."""
    net, height = of.net, of.shape[0]
    attends = tuple(height >> level in net['attention'] for level in range(len(net['multipliers'])))
    places = Places(len(net['multipliers']), net['blocks'], attends, height)
    found: dict[str, Row] = {}
    for path, leaf in flat(shapes).items():
        name, form = _named(path, leaf, places, net['head_channels'])
        paths = in_order((*found[name].paths, path)) if name in found else (path,)
        found[name] = Row(name, paths, form)
    return list(found.values())


def _named(path: tuple[str, ...], leaf: Any, places: Places, head_channels: int) -> tuple[str, Form]:
    if path in _OTHERS:
        return _OTHERS[path], kernel() if path[-1] == 'mp_direction' else AS_IT_IS
    block, *layer, last = path
    there = f'unet.{place(False, "standard", block, bool(layer), places)}'
    if last == 'gain':
        return f'{there}.emb_gain', AS_IT_IS
    if not layer:
        return f'{there}.weight', kernel()
    name = f'{there}.{_LAYERS[layer[0]]}.weight'
    if layer[0] in ('q', 'k', 'v'):
        return name, query_key_value('heads dim three', leaf.shape[-1] // head_channels, 2)
    return name, kernel(0 if layer[0] in _DENSE_THERE or len(leaf.shape) > 2 else 2)
