"""The config.json of a UNet2DModel of diffusers as an architecture of ours, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_jax.errors import UserError
from diffusion_jax.interop.unet import Architecture, of_diffusers
from diffusion_jax.nets.layout import DDPM, Layout, adm, dhariwal, ncsnpp, song

# (fields, what our blocks can do): anything else is refused by name.
_ONLY: dict[str, tuple[Any, ...]] = {
    'center_input_sample': (False, None),
    'time_embedding_type': ('positional',),
    'mid_block_type': ('UNetMidBlock2D',),
    'mid_block_scale_factor': (1, None),
    'downsample_padding': (0, 1),
    'downsample_type': ('conv', 'resnet'),
    'upsample_type': ('conv', 'resnet'),
    'act_fn': ('silu', 'swish'),
    'resnet_time_scale_shift': ('default', 'scale_shift'),
    'add_attention': (True,),
    'class_embed_type': (None,),
    'num_train_timesteps': (None,),
}
# What a config.json leaves out, as in diffusers.
_DEFAULTS: dict[str, Any] = {
    'sample_size': None,
    'in_channels': 3,
    'out_channels': 3,
    'center_input_sample': False,
    'time_embedding_type': 'positional',
    'time_embedding_dim': None,
    'freq_shift': 0,
    'flip_sin_to_cos': True,
    'down_block_types': ('DownBlock2D', *('AttnDownBlock2D',) * 3),
    'mid_block_type': 'UNetMidBlock2D',
    'up_block_types': (*('AttnUpBlock2D',) * 3, 'UpBlock2D'),
    'block_out_channels': (224, 448, 672, 896),
    'layers_per_block': 2,
    'mid_block_scale_factor': 1,
    'downsample_padding': 1,
    'downsample_type': 'conv',
    'upsample_type': 'conv',
    'dropout': 0.0,
    'act_fn': 'silu',
    'attention_head_dim': 8,
    'norm_num_groups': 32,
    'attn_norm_num_groups': None,
    'norm_eps': 1e-5,
    'resnet_time_scale_shift': 'default',
    'add_attention': True,
    'class_embed_type': None,
    'num_class_embeds': None,
    'num_train_timesteps': None,
}
# What ours can have beside.
_USUAL: dict[str, Any] = {'strides': None, 'attention_axes': None, 'padding': 'zero'}
# Which blocks attend, and whether the resolution changes in a residual block; None: as the field of the type says.
_DOWN = {'DownBlock2D': (False, False), 'AttnDownBlock2D': (True, None), 'ResnetDownsampleBlock2D': (False, True)}
_UP = {'UpBlock2D': (False, False), 'AttnUpBlock2D': (True, None), 'ResnetUpsampleBlock2D': (False, True)}


def architecture(where: str, config: Mapping[str, Any], size: int | None = None) -> Architecture:
    """The network that a config.json says.

    Args:
        where: the file is, for messages.
        config: its content.
        size: of an image, where the file does not say it.

    Raises:
        UserError: for another class, or an option that our blocks have not, by its name.
    """
    c = _checked(where, config)
    height, width = _size(where, c['sample_size'] or size)
    channels, multipliers = of_diffusers(where, c['block_out_channels'])
    if c['time_embedding_dim'] not in (None, 4 * channels):
        raise UserError(
            f'{where}: time_embedding_dim={c["time_embedding_dim"]} must be {4 * channels}, 4 times the first width'
        )
    attends, in_block = _levels(where, c)
    net: dict[str, Any] = {
        'name': 'UNet',
        'channels': channels,
        'multipliers': [*multipliers],
        'blocks': c['layers_per_block'],
        'attention': [height >> level for level, yes in enumerate(attends) if yes],
        'dropout': float(c['dropout']),
        'dtype': 'float32',
    }
    net |= {'head_channels': c['attention_head_dim']} if c['attention_head_dim'] is not None else {}
    net |= {'scale_shift': True} if c['resnet_time_scale_shift'] == 'scale_shift' else {}
    net |= {'resample_in_block': True} if in_block else {}
    layout = _layout(c, c['block_out_channels'])
    net |= {'layout': {'name': 'Layout', **layout}} if layout else {}
    channels, answers = c['in_channels'], c['out_channels']
    if answers not in (channels, 2 * channels):
        raise UserError(f'{where}: in_channels={channels} and out_channels={answers} must be equal, or twice as many')
    return Architecture(net, (height, width, channels), c['num_class_embeds'], answers > channels)


def _checked(where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    name = config.get('_class_name', 'nothing with a class name')
    if name != 'UNet2DModel':
        raise UserError(f'{where} is of {name}, and only UNet2DModel is read')
    for field, value in config.items():
        if not field.startswith('_') and field not in _DEFAULTS:
            raise UserError(f'{where}: {field}={value!r} is unknown here')
    c = {**_DEFAULTS, **config}
    for field, known in _ONLY.items():
        if c[field] not in known:
            fits = ' or '.join(repr(value) for value in known if value is not None or len(known) == 1)
            raise UserError(f'{where}: our blocks can do {field}={fits}; got {c[field]!r}')
    groups = c['norm_num_groups'], c['attn_norm_num_groups']
    if groups[1] not in ((groups[0],) if c['resnet_time_scale_shift'] == 'scale_shift' else (None, groups[0])):
        raise UserError(f'{where}: attn_norm_num_groups={groups[1]!r} must be {groups[0]}, norm_num_groups')
    return c


def _size(where: str, size: int | Sequence[int] | None) -> tuple[int, int]:
    if size is None:
        raise UserError(f'{where} does not say the size of an image: set --size')
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _levels(where: str, c: Mapping[str, Any]) -> tuple[list[bool], bool]:
    """Which levels attend, and whether the resolution changes inside residual blocks."""
    down = _kinds(where, c, 'down_block_types', _DOWN, c['downsample_type'] == 'resnet')
    up = _kinds(where, c, 'up_block_types', _UP, c['upsample_type'] == 'resnet')[::-1]
    if [a for a, _ in down] != [a for a, _ in up]:
        raise UserError(f'{where}: up_block_types must attend at the levels at which down_block_types do')
    # The last level is not left downwards, and the first not upwards.
    changes = {b for _, b in down[:-1]} | {b for _, b in up[1:]}
    if len(changes) > 1:
        raise UserError(f'{where}: the resolution must change in residual blocks at all levels, or at none')
    return [a for a, _ in down], changes == {True}


def _kinds(where, c, field, known, otherwise):
    for kind in c[field]:
        if kind not in known:
            raise UserError(f'{where}: {field} has {kind}, and our blocks can do {", ".join(known)}')
    found = [known[kind] for kind in c[field]]
    return [(attends, otherwise if in_block is None else in_block) for attends, in_block in found]


def _layout(c: Mapping[str, Any], widths: Sequence[int]) -> dict[str, Any]:
    """What differs from DDPM's."""
    layout = {
        'eps': float(c['norm_eps']),
        'groups': None if c['norm_num_groups'] == _usual(widths) else c['norm_num_groups'],
        'cosines_first': c['flip_sin_to_cos'],
        'shift': c['freq_shift'],
        'symmetric': c['downsample_padding'] == 1,
    }
    return {k: v for k, v in layout.items() if v != getattr(DDPM, k)}


def _usual(widths: Sequence[int]) -> int | None:
    """The number of groups that DDPM's layout has at all of these widths; None where they are several."""
    return 32 if all(width >= 128 and width % 32 == 0 for width in widths) else None


def config(found: Architecture) -> dict[str, Any]:
    """The config.json of a network of ours.

    Raises:
        UserError: for a network that is no UNet2DModel, saying which of its settings.
    """
    net, (height, width, channels) = found.net, found.shape
    if net['name'] != 'UNet':
        raise UserError(f'config.net.name={net["name"]!r}: only a UNet can be a UNet2DModel')
    check_usual(net, 'UNet2DModel', _USUAL)
    layout = layout_of(net)
    for field in ('skip_scale', 'projects', 'attends_last', 'fir', 'fourier', 'early', 'encoder', 'decoder'):
        if getattr(layout, field) != getattr(DDPM, field):
            raise UserError(f'config.net.layout: a UNet2DModel cannot have {field}={getattr(layout, field)}')
    widths = [net['channels'] * m for m in net['multipliers']]
    groups = layout.groups or _usual(widths)
    if groups is None:
        raise UserError(
            "config.net: a UNet2DModel has one number of groups at all widths, and here they are DDPM's, which differ"
        )
    attends = [height >> level in net['attention'] for level in range(len(widths))]
    in_block, scale_shift = net.get('resample_in_block', False), net.get('scale_shift', False)
    plain = 'Resnet{}sampleBlock2D' if in_block else '{}Block2D'
    down = ['AttnDownBlock2D' if a else plain.format('Down') for a in attends]
    up = ['AttnUpBlock2D' if a else plain.format('Up') for a in attends[::-1]]
    kind = 'resnet' if in_block else 'conv'
    return {
        '_class_name': 'UNet2DModel',
        **_DEFAULTS,
        'sample_size': height if height == width else [height, width],
        'in_channels': channels,
        'out_channels': channels * (1 + found.learns_variance),
        'freq_shift': layout.shift,
        'flip_sin_to_cos': layout.cosines_first,
        'down_block_types': down,
        'up_block_types': up,
        'block_out_channels': widths,
        'layers_per_block': net['blocks'],
        'downsample_padding': int(layout.symmetric),
        'downsample_type': kind,
        'upsample_type': kind,
        'dropout': net.get('dropout', 0.0),
        'attention_head_dim': _head_dim(net, [w for w, a in zip(widths, attends, strict=True) if a] + widths[-1:]),
        'norm_num_groups': groups,
        'attn_norm_num_groups': groups if scale_shift else None,
        'norm_eps': layout.eps,
        'resnet_time_scale_shift': 'scale_shift' if scale_shift else 'default',
        'num_class_embeds': found.classes,
    }


def check_usual(net: Mapping[str, Any], model: str, usual: Mapping[str, Any]) -> None:
    """Checks that a spec sets none of these fields otherwise, which a model of diffusers has not.

    Raises:
        UserError: for the first that it does.
    """
    for field, value in usual.items():
        if net.get(field, value) != value:
            raise UserError(f'config.net.{field}={net[field]!r}: a {model} has none: only {value} fits')


def layout_of(net: Mapping[str, Any]) -> Layout:
    """The layout of a U-Net's spec."""
    spec = {**(net.get('layout') or {'name': 'Layout'})}
    named = {'Layout': Layout, 'adm': adm, 'dhariwal': dhariwal, 'ncsnpp': ncsnpp, 'song': song}
    return named[spec.pop('name')](**spec)


def _head_dim(net: Mapping[str, Any], widths: Sequence[int]) -> int | None:
    """Channels of a head at these widths."""
    if net.get('head_channels'):
        return net['head_channels']
    heads = net.get('heads', 1)
    if heads == 1:
        return None
    if len({*widths}) > 1:
        raise UserError(f'config.net.heads={heads}: a UNet2DModel has heads of one size at all widths: {[*widths]}')
    return widths[0] // heads
