"""DiT and SiT: the names of their weights, which tell all of the network but its number of heads.

The names are those of facebookresearch/DiT and willisma/SiT, models.py, whose networks are the same.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.names import AS_IT_IS, Form, Row, Tree, flat, kernel
from diffusion_jax.interop.unet import Architecture
from diffusion_jax.interop.weights_file import looks_like
from diffusion_jax.nets.positions import sincos

WHAT = 'the weights of a DiT or SiT'
_HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # of S, B, L and XL, by their channels
_PLACES = {
    ('patches',): 'x_embedder.proj',
    ('embedding', 'dense_1'): 't_embedder.mlp.0',
    ('embedding', 'dense_2'): 't_embedder.mlp.2',
    ('embedding', 'classes'): 'y_embedder.embedding_table',
    ('modulation',): 'final_layer.adaLN_modulation.1',
    ('out',): 'final_layer.linear',
}
_LAYERS = {
    'modulation': 'adaLN_modulation.1',
    'qkv': 'attn.qkv',
    'out': 'attn.proj',
    'mlp_1': 'mlp.fc1',
    'mlp_2': 'mlp.fc2',
}


def bare(where: str, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights without the positions, once they are found to be the fixed ones.

    Raises:
        UserError: if they were trained.
    """
    positions = weights.get('pos_embed')
    if positions is not None:
        side = math.isqrt(positions.shape[1])
        fixed = sincos((side, side), positions.shape[-1])
        if positions.shape != (1, *fixed.shape) or np.abs(positions[0] - fixed).max() > 1e-5:
            raise UserError(f'{where}: its pos_embed is not the sinusoids of a square of patches, as our blocks have')
    return {name: w for name, w in weights.items() if name != 'pos_embed'}


def answered(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """SiT's weights without the channels that it answers and throws away: those of a learned variance."""
    found = dict(weights)
    _, channels, *window = weights['x_embedder.proj.weight'].shape
    for name in ('final_layer.linear.weight', 'final_layer.linear.bias'):
        pixels = weights[name].reshape(math.prod(window), -1, *weights[name].shape[1:])
        found[name] = pixels[:, :channels].reshape(-1, *weights[name].shape[1:])
    return found


def architecture(where: str, weights: Mapping[str, np.ndarray], heads: int | None) -> Architecture:
    """The network that these weights, with their positions, are of.

    Args:
        where: they are from, for messages.
        weights: by name.
        heads: of attention; None for those of S, B, L and XL.

    Raises:
        UserError: for weights of another architecture, saying which it looks like; for heads that must be said, or that
            do not divide.
    """
    try:
        hidden, channels, patch, _ = weights['x_embedder.proj.weight'].shape
        side = patch * math.isqrt(weights['pos_embed'].shape[1])
        classes = len(weights['y_embedder.embedding_table.weight']) - 1
        out = len(weights['final_layer.linear.bias']) // patch**2
        ratio, rest = divmod(len(weights['blocks.0.mlp.fc1.bias']), hidden)
    except (KeyError, ValueError) as error:
        raise UserError(f'{where} should be {WHAT}, and looks like {looks_like(weights)}: no {error}') from error
    heads = heads or _HEADS.get(hidden)
    if heads is None:
        raise UserError(f'{where} is of {hidden} channels, which is none of S, B, L and XL: set --heads')
    if hidden % heads or rest or out not in (channels, 2 * channels):
        raise UserError(
            f'{where}: {heads} heads must divide {hidden} channels, as these must the width of the MLPs, and there are '
            f'{channels} or {2 * channels} channels of the result, not {out}'
        )
    depth = 1 + max(int(m[1]) for name in weights if (m := re.match(r'blocks\.(\d+)\.', name)))
    net: dict[str, Any] = {
        'name': 'DiT',
        'hidden': hidden,
        'depth': depth,
        'heads': heads,
        'patch': patch,
        'mlp_ratio': ratio,
        'positions': 'sincos',
        'dropout': 0.0,
        'dtype': 'float32',
    }
    return Architecture(net, (side, side, channels), classes, out > channels, latents=channels == 4, drops=True)


def table(net: Mapping[str, Any], shapes: Tree, channels: int) -> list[Row]:
    """The rows of a DiT of this spec, which sees so many channels; every block's of the one stack of them here."""
    patch = net['patch']
    rows = []
    for path, leaf in flat(shapes).items():
        *layer, last = path
        end = 'bias' if last == 'bias' else 'weight'
        form = kernel() if last == 'kernel' else AS_IT_IS
        if layer[0] == 'blocks':
            name = f'{_LAYERS[layer[1]]}.{end}'
            rows += [Row(f'blocks.{i}.{name}', (path,), form, i) for i in range(leaf.shape[0])]
            continue
        if layer == ['patches'] and last == 'kernel':
            form = _windows(patch, channels)
        rows.append(Row(f'{_PLACES[tuple(layer)]}.{end}', (path,), form))
    return rows


def _windows(patch: int, channels: int) -> Form:
    """A convolution over patches as the dense layer of one, whose pixels are in C order."""

    def inward(w: np.ndarray) -> tuple[np.ndarray, ...]:
        return (w.transpose(2, 3, 1, 0).reshape(-1, w.shape[0]),)

    def outward(parts: Any) -> np.ndarray:
        return parts[0].reshape(patch, patch, channels, -1).transpose(3, 2, 0, 1)

    return Form(inward, outward)
