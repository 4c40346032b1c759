"""The UNet2DConditionModel of diffusers: its config.json as a spec of our U-Net and back, and its weights' names."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop import clip_text, diffusers_config, diffusers_unet, unet
from diffusion_jax.interop.names import Row, Tree, prefixed
from diffusion_jax.interop.unet import Dialect, Places
from diffusion_jax.nets import UNet
from diffusion_jax.nets.layout import adm
from diffusion_jax.nets.text_unet import GUIDANCE_WAVES

WHAT = 'the weights of a UNet2DConditionModel and a CLIPTextModel'
UNET, TEXT = 'unet.', 'text_encoder.'  # before the names of the two
_GUIDANCE = 'time_embedding.cond_proj.weight'
# (fields, what our blocks can do): anything else is refused by name. None is what diffusers leaves out.
_ONLY: dict[str, tuple[Any, ...]] = {
    'center_input_sample': (False,),
    'flip_sin_to_cos': (True,),
    'freq_shift': (0,),
    'mid_block_type': ('UNetMidBlock2DCrossAttn',),
    'only_cross_attention': (False,),
    'downsample_padding': (1,),
    'mid_block_scale_factor': (1,),
    'act_fn': ('silu',),
    'reverse_transformer_layers_per_block': (None,),
    'encoder_hid_dim': (None,),
    'encoder_hid_dim_type': (None,),
    'num_attention_heads': (None,),
    'dual_cross_attention': (False,),
    'class_embed_type': (None,),
    'addition_embed_type': (None,),
    'num_class_embeds': (None,),
    'resnet_time_scale_shift': ('default',),
    'resnet_skip_time_act': (False,),
    'resnet_out_scale_factor': (1.0,),
    'time_embedding_type': ('positional',),
    'time_embedding_dim': (None,),
    'time_embedding_act_fn': (None,),
    'timestep_post_act': (None,),
    'time_cond_proj_dim': (None, GUIDANCE_WAVES),
    'conv_in_kernel': (3,),
    'conv_out_kernel': (3,),
    'projection_class_embeddings_input_dim': (None,),
    'attention_type': ('default',),
    'class_embeddings_concat': (False,),
    'mid_block_only_cross_attention': (None,),
    'cross_attention_norm': (None,),
}
# The others, with what a config.json that leaves them out means, as in diffusers.
_USUAL: dict[str, Any] = {
    'sample_size': None,
    'in_channels': 4,
    'out_channels': 4,
    'down_block_types': (*('CrossAttnDownBlock2D',) * 3, 'DownBlock2D'),
    'up_block_types': ('UpBlock2D', *('CrossAttnUpBlock2D',) * 3),
    'block_out_channels': (320, 640, 1280, 1280),
    'layers_per_block': 2,
    'dropout': 0.0,
    'norm_num_groups': 32,
    'norm_eps': 1e-5,
    'cross_attention_dim': 1280,
    'transformer_layers_per_block': 1,
    'attention_head_dim': 8,
    'use_linear_projection': False,
    'upcast_attention': False,  # to float32, which attention is in here
    'addition_time_embed_dim': None,  # of no use without addition_embed_type
    'addition_embed_type_num_heads': 64,
}
_DOWN = {'DownBlock2D': False, 'CrossAttnDownBlock2D': True}
_UP = {'UpBlock2D': False, 'CrossAttnUpBlock2D': True}
# What ours can have beside.
_OURS: dict[str, Any] = {
    'strides': None,
    'attention_axes': None,
    'padding': 'zero',
    'scale_shift': False,
    'resample_in_block': False,
}


def spec(where: str, config: Mapping[str, Any], size: int | None = None) -> dict[str, Any]:
    """The `net` section of a config.json, without its text; the last levels' attention is by the latents' height.

    Args:
        where: the file is, for messages.
        config: its content.
        size: height and width of the latents, where they are not the file's.

    Raises:
        UserError: for another class, or an option that our blocks have not, by its name.
    """
    c = _checked(where, config)
    height = latents(where, config, size)[0]
    channels, multipliers = unet.of_diffusers(where, c['block_out_channels'])
    attends = [_kind(where, kind, _DOWN) for kind in c['down_block_types']]
    if attends != [_kind(where, kind, _UP) for kind in c['up_block_types']][::-1]:
        raise UserError(f'{where}: up_block_types must attend at the levels at which down_block_types do')
    depth = c['transformer_layers_per_block']
    if not isinstance(depth, int):
        raise UserError(f'{where}: transformer_layers_per_block={depth} must be one number for all levels')
    net: dict[str, Any] = {
        'name': 'TextUNet',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': c['layers_per_block'],
        'attention': [height >> level for level, yes in enumerate(attends) if yes],
        'dropout': float(c['dropout']),
        'dtype': 'float32',
        'layout': {'name': 'adm', 'groups': c['norm_num_groups']},
    }
    if float(c['norm_eps']) != 1e-5:
        raise UserError(f'{where}: our blocks can do norm_eps=1e-05; got {c["norm_eps"]}')
    return {**net, **_heads(where, c), **({} if depth == 1 else {'depth': depth})}


def config(net: Mapping[str, Any], shape: tuple[int, int, int], told: bool) -> dict[str, Any]:
    """The config.json of a TextUNet of this spec; `told` the weight of a guidance, or not.

    Raises:
        UserError: for a network that is no UNet2DConditionModel, saying which of its settings.
    """
    diffusers_config.check_usual(net, 'UNet2DConditionModel', _OURS)
    layout = diffusers_config.layout_of(net)
    if layout.groups is None or layout != adm(layout.groups):
        raise UserError("config.net.layout: a UNet2DConditionModel has adm's, with a number of groups; this is another")
    height, width, channels = shape
    attends = [height >> level in net['attention'] for level in range(len(net['multipliers']))]
    down, up = ({yes: kind for kind, yes in kinds.items()} for kinds in (_DOWN, _UP))
    widths, per_head = [net['channels'] * m for m in net['multipliers']], net.get('head_channels')
    return {
        '_class_name': 'UNet2DConditionModel',
        **{field: known[0] for field, known in _ONLY.items()},
        **{field: value for field, value in _USUAL.items() if not field.startswith('addition')},
        'sample_size': height if height == width else [height, width],
        'in_channels': channels,
        'out_channels': channels,
        'down_block_types': [down[a] for a in attends],
        'up_block_types': [up[a] for a in attends[::-1]],
        'block_out_channels': widths,
        'layers_per_block': net['blocks'],
        'dropout': net.get('dropout', UNet.dropout),
        'norm_num_groups': layout.groups,
        'cross_attention_dim': net['text']['width'],
        'transformer_layers_per_block': net.get('depth', 1),
        'attention_head_dim': [width // per_head for width in widths] if per_head else net.get('heads', 1),
        'use_linear_projection': is_linear(net),
        'time_cond_proj_dim': GUIDANCE_WAVES if told else None,
    }


def is_linear(net: Mapping[str, Any]) -> bool:
    """Whether a network's own kind has dense layers around its transformers: 2's heads are of one size, 1's are not.

    They are the same as convolutions 1 wide, so that either form of the file is right.
    """
    return bool(net.get('head_channels'))


def latents(where: str, config: Mapping[str, Any], size: int | None = None) -> tuple[int, int, int]:
    """Shape of the latents of a config.json, or of these, `[H, W, C]`.

    Raises:
        UserError: if neither says it; for another number of channels of the result.
    """
    c = {**_USUAL, **config}
    if c['in_channels'] != c['out_channels']:
        raise UserError(
            f'{where}: in_channels={c["in_channels"]} must be out_channels={c["out_channels"]}: a network that sees '
            'more than latents, as for inpainting, is not read'
        )
    size = size or c['sample_size']
    if size is None:
        raise UserError(f'{where} does not say the size of an image: set --size')
    height, width = (size, size) if isinstance(size, int) else (size[0], size[1])
    return height, width, c['in_channels']


def _checked(where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    name = config.get('_class_name', 'nothing with a class name')
    if name != 'UNet2DConditionModel':
        raise UserError(f'{where} is of {name}, and only UNet2DConditionModel is read with texts')
    for field, value in config.items():
        if field in _ONLY and value not in _ONLY[field]:
            fits = ' or '.join(map(repr, _ONLY[field]))
            raise UserError(f'{where}: our blocks can do {field}={fits}; got {value!r}')
        if not field.startswith('_') and field not in _ONLY and field not in _USUAL:
            raise UserError(f'{where}: {field}={value!r} is unknown here')
    return {**_USUAL, **config}


def _kind(where: str, kind: str, known: Mapping[str, bool]) -> bool:
    if kind not in known:
        raise UserError(f'{where}: there is a block {kind}, and our blocks can do {", ".join(known)}')
    return known[kind]


def _heads(where: str, c: Mapping[str, Any]) -> dict[str, int]:
    """What diffusers calls attention_head_dim is the number of heads, of all levels or of each."""
    heads, widths = c['attention_head_dim'], c['block_out_channels']
    if isinstance(heads, int):
        return {'heads': heads}
    channels = {width / n for width, n in zip(widths, heads, strict=True)}
    if len(channels) > 1 or next(iter(channels)) % 1:
        raise UserError(f'{where}: attention_head_dim={[*heads]} must make heads of one size at {[*widths]} channels')
    return {'head_channels': int(next(iter(channels)))}


_LAYERS = {
    **{name: name for name in ('norm', 'proj_in', 'proj_out')},
    'norm_1': 'norm1',
    'norm_2': 'norm2',
    'norm_3': 'norm3',
    'conv_1': 'conv1',
    'conv_2': 'conv2',
    'emb': 'time_emb_proj',
    'shortcut': 'conv_shortcut',
    'self': 'attn1',
    'cross': 'attn2',
    'q': 'to_q',
    'k': 'to_k',
    'v': 'to_v',
    'out': 'to_out.0',
    'mlp_1': 'ff.net.0.proj',
    'mlp_2': 'ff.net.2',
    'dense_1': 'linear_1',
    'dense_2': 'linear_2',
    'w': 'cond_proj',
}


def _place(block: str, has_layers: bool, places: Places) -> str:
    return diffusers_unet.DIALECT.place(block, has_layers, places)


def rows(net: Mapping[str, Any], shapes: Tree, height: int, linear: bool) -> list[Row]:
    """The rows of a TextUNet of this spec and its text, with `UNET` and `TEXT` before their names.

    Args:
        net: the spec.
        shapes: of its parameters.
        height: of the latents.
        linear: whether `proj_in` and `proj_out` are dense layers there, and not convolutions.
    """
    blocks = {f'block_{i}': f'transformer_blocks.{i}' for i in range(net.get('depth', 1))}
    ones = {'shortcut': 2} | ({} if linear else {'proj_in': 2, 'proj_out': 2})
    dialect = Dialect(_place, {**_LAYERS, **blocks}, ones)
    of_unet = unet.table(net, {name: tree for name, tree in shapes.items() if name != 'text'}, dialect, height)
    return prefixed(of_unet, UNET) + prefixed(clip_text.rows(shapes['text']), TEXT, 'text')


def parted(weights: Mapping[str, np.ndarray], told: bool) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The weights of the U-Net, and of the text, under the names of their files; all but w's unless it is `told`."""
    of_unet, of_text = (
        {name.removeprefix(part): w for name, w in weights.items() if name.startswith(part)} for part in (UNET, TEXT)
    )
    if not told:
        of_unet.pop(_GUIDANCE)
    return of_unet, of_text


def completed(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a UNet2DConditionModel, with zeros for how it is told a guidance scale, if it is not told any."""
    width = weights['time_embedding.linear_1.weight'].shape[1] if 'time_embedding.linear_1.weight' in weights else 0
    return {_GUIDANCE: np.zeros((width, GUIDANCE_WAVES), np.float32), **weights}
