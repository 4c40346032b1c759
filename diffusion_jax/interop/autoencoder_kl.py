"""The AutoencoderKL of diffusers, from its folder: config.json, weights and their names."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.home import expanded
from diffusion_jax.interop import diffusers_unet, names, unet, weights_file
from diffusion_jax.interop.names import AS_IT_IS, Row, Tree, kernel, prefixed
from diffusion_jax.nets import autoencoder
from diffusion_jax.nets.layout import Layout
from diffusion_jax.types import Array

WHAT = 'the weights of an AutoencoderKL'
WEIGHTS = ('diffusion_pytorch_model.safetensors', 'diffusion_pytorch_model.bin')
_DOWN, _UP = 'DownEncoderBlock2D', 'UpDecoderBlock2D'
# (fields, what our blocks can do): anything else is refused by name.
_ONLY: dict[str, tuple[Any, ...]] = {
    'act_fn': ('silu',),
    'latents_mean': (None,),
    'latents_std': (None,),
    'mid_block_add_attention': (True, False),
}
# What a config.json leaves out, as in diffusers.
_USUAL: dict[str, Any] = {
    'in_channels': 3,
    'out_channels': 3,
    'down_block_types': (_DOWN,),
    'up_block_types': (_UP,),
    'block_out_channels': (64,),
    'layers_per_block': 1,
    'latent_channels': 4,
    'norm_num_groups': 32,
    'scaling_factor': 0.18215,
    'shift_factor': None,
    'mid_block_add_attention': True,
    'use_quant_conv': True,
    'use_post_quant_conv': True,
}
_FREE = ('sample_size', 'force_upcast')  # of no meaning for what it computes in float32


class Description(NamedTuple):
    """What an autoencoder is of."""

    factor: int  # an image's side over that of its latents
    channels: int  # of latents
    image_channels: int


class Frozen(NamedTuple):
    """An autoencoder that is not trained; both functions are jitted."""

    encode: Callable[[Array | np.ndarray], autoencoder.Posterior]  # images in [-1, 1] -> scaled latents
    decode: Callable[[Array | np.ndarray], Array]  # scaled latents -> images, in [-1, 1] but for errors


def spec(where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `nets.autoencoder.Autoencoder` that a config.json says.

    Raises:
        UserError: for another class, or an option that our blocks have not, by its name.
    """
    name = config.get('_class_name', 'nothing with a class name')
    if name != 'AutoencoderKL':
        raise UserError(f'{where} is of {name}, and only AutoencoderKL is read')
    for field, value in config.items():
        if field in _ONLY and value not in _ONLY[field]:
            raise UserError(f'{where}: our blocks can do {field}={_ONLY[field][0]!r}; got {value!r}')
        if not field.startswith('_') and field not in {*_ONLY, *_USUAL, *_FREE}:
            raise UserError(f'{where}: {field}={value!r} is unknown here')
    c = {**_USUAL, **config}
    if {*c['down_block_types'], *c['up_block_types']} != {_DOWN, _UP}:
        raise UserError(f'{where}: down_block_types and up_block_types must be {_DOWN} and {_UP}')
    if c['in_channels'] != c['out_channels'] or c['use_quant_conv'] != c['use_post_quant_conv']:
        raise UserError(
            f'{where}: in_channels must be out_channels, and use_quant_conv use_post_quant_conv; got '
            f'{c["in_channels"]}, {c["out_channels"]}, {c["use_quant_conv"]}, {c["use_post_quant_conv"]}'
        )
    channels, multipliers = unet.of_diffusers(where, c['block_out_channels'])
    return {
        'channels': channels,
        'multipliers': multipliers,
        'blocks': c['layers_per_block'],
        'latents': c['latent_channels'],
        'out_channels': c['out_channels'],
        'scaling': float(c['scaling_factor']),
        'shift': float(c['shift_factor'] or 0),
        'attends': c['mid_block_add_attention'],
        'mixes': c['use_quant_conv'],
        'layout': Layout(groups=c['norm_num_groups']),
    }


def described(folder: str | Path) -> Description:
    """What the autoencoder of a folder is of, by its config.json.

    Raises:
        UserError: if it is not there, or of another model; if there are no weights.
    """
    inside = expanded(folder)
    found = _spec(inside)
    weights_file.found(inside, WEIGHTS)
    return Description(2 ** (len(found['multipliers']) - 1), found['latents'], found['out_channels'])


def digest(folder: str | Path) -> str:
    """The SHA-256 of the weights of a folder; raises as `described`."""
    return weights_file.sha256(weights_file.found(expanded(folder), WEIGHTS))


def _spec(inside: Path) -> dict[str, Any]:
    config = inside / 'config.json'
    return spec(str(config), weights_file.read_json(config))


def rows(found: Mapping[str, Any], shapes: Tree) -> list[Row]:
    """The rows of an autoencoder of this spec whose parameters have these shapes."""
    half = {'multipliers': found['multipliers'], 'blocks': found['blocks'], 'attention': ()}
    table = []
    for name in ('encoder', 'decoder'):
        table += prefixed(unet.table(half, shapes[name], diffusers_unet.DIALECT, 1), f'{name}.', name)
    for name, there in (('mix_moments', 'quant_conv'), ('mix_latents', 'post_quant_conv')):
        if found['mixes']:
            table += [
                Row(f'{there}.weight', ((name, 'kernel'),), kernel(2)),
                Row(f'{there}.bias', ((name, 'bias'),), AS_IT_IS),
            ]
    return table


def read(folder: str | Path) -> Frozen:
    """The autoencoder of a folder.

    Raises:
        UserError: if a file is missing or damaged, of another model, or has an option that is not known here.
    """
    inside = expanded(folder)
    found, (side, _, channels) = _spec(inside), described(inside)
    file = weights_file.found(inside, WEIGHTS)
    weights = weights_file.as_float32(diffusers_unet.renamed(weights_file.read(file)))
    init, encode, decode = autoencoder.functional(found)
    image = np.zeros((1, side, side, channels), np.float32)
    shapes = jax.eval_shape(init, jax.random.key(0), image)
    params = names.take_in(str(file), WHAT, _flattened(weights), rows(found, shapes), shapes)
    jitted = jax.jit(encode), jax.jit(decode)  # of the parameters too, which are no constants
    return Frozen(*(functools.partial(apply, jax.tree.map(jnp.asarray, params)) for apply in jitted))


def _flattened(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Attention as dense layers, which some files have as convolutions."""
    return {n: w.reshape(w.shape[:2]) if '.attentions.' in n and w.ndim == 4 else w for n, w in weights.items()}
