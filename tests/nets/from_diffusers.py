"""The weights of a diffusers UNet2DModel as ours, by name: the two share the architecture and no line of code."""

import jax.numpy as jnp

LAYERS = {
    'norm1': 'norm_1',
    'norm2': 'norm_2',
    'conv1': 'conv_1',
    'conv2': 'conv_2',
    'time_emb_proj': 'emb',
    'conv_shortcut': 'shortcut',
    'group_norm': 'norm',
    'to_q': 'q',
    'to_k': 'k',
    'to_v': 'v',
    'to_out': 'out',
}


def _path(name, levels):
    match name.split('.')[:-1]:
        case ['conv_norm_out']:
            return ['norm_out']
        case ['time_embedding', layer]:
            return ['embedding', layer.replace('linear', 'dense')]
        case ['conv_in' | 'conv_out' as layer]:
            return [layer]
        case ['mid_block', 'attentions', _, layer, *_]:
            return ['middle_attention', LAYERS[layer]]
        case ['mid_block', 'resnets', j, layer]:
            return [f'middle_block_{j}', LAYERS[layer]]
        case [side, i, kind, j, layer, *_]:
            level = i if side == 'down_blocks' else levels - 1 - int(i)
            block = {'resnets': f'block_{j}', 'attentions': f'attention_{j}'}.get(kind, 'resample')
            path = f'{side.split("_")[0]}_{level}_{block}'
            return [path] if layer == 'conv' else [path, LAYERS[layer]]
    raise KeyError(name)


def convert(model):
    """`{path: array}` nested as our parameters are."""
    params = {}
    for name, value in model.state_dict().items():
        *path, layer = _path(name, len(model.config.block_out_channels))
        node = params
        for key in path:
            node = node.setdefault(key, {})
        v = jnp.asarray(value.numpy())
        bias = name.endswith('bias')
        leaf = 'bias' if bias else 'scale' if 'norm' in layer else 'kernel'
        if v.ndim == 4:
            v = v.transpose(2, 3, 1, 0)
            v = v[0, 0] if layer == 'shortcut' else v
        node.setdefault(layer, {})[leaf] = v.T if v.ndim == 2 and 'conv_shortcut' not in name else v
    return params
