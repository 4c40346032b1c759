"""The weights of DINOv2, from the files that its authors publish."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from diffusion_jax.errors import UserError
from diffusion_jax.interop import torch_file
from diffusion_jax.nets.dinov2 import HEAD, PATCH, DINOv2

WHAT = "DINOv2's ViT-S, -B or -L without registers (dinov2_vitl14_pretrain.pth)"
_DENSE = {'qkv': 'attn.qkv', 'proj': 'attn.proj', 'fc1': 'mlp.fc1', 'fc2': 'mlp.fc2'}


def read(path: str | Path) -> tuple[DINOv2, Any]:
    """The network of a file and its parameters in float32.

    Args:
        path: such as https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth.

    Raises:
        UserError: if the file cannot be read, or is another network's: with registers, or ViT-g with its gated MLP.
    """
    tensors = torch_file.read(path)
    size = tensors.get('pos_embed')
    if size is None or size.ndim != 3 or size.shape[2] % HEAD or 'register_tokens' in tensors:
        raise UserError(f'{path} should be {WHAT}')
    d, grid = size.shape[2], round((size.shape[1] - 1) ** 0.5)
    depth = sum(name.endswith('.norm1.weight') for name in tensors)
    torch_file.check(path, WHAT, tensors, _shapes(d, depth, grid))

    def dense(name):
        return {'kernel': _float(tensors[f'{name}.weight'].T), 'bias': _float(tensors[f'{name}.bias'])}

    def norm(name):
        return {'scale': _float(tensors[f'{name}.weight']), 'bias': _float(tensors[f'{name}.bias'])}

    def block(i):
        prefix = f'blocks.{i}'
        scales = {n: _float(tensors[f'{prefix}.{n}.gamma'].reshape(1, 1, d)) for n in ('ls1', 'ls2')}
        norms = {n: norm(f'{prefix}.{n}') for n in ('norm1', 'norm2')}
        return {**scales, **norms, **{ours: dense(f'{prefix}.{theirs}') for ours, theirs in _DENSE.items()}}

    params = {
        'cls_token': _float(tensors['cls_token']),
        'pos_embed': _float(tensors['pos_embed']),
        'patch_embed': {
            'kernel': _float(tensors['patch_embed.proj.weight'].transpose(2, 3, 1, 0)),  # from [out, in, h, w]
            'bias': _float(tensors['patch_embed.proj.bias']),
        },
        'norm': norm('norm'),
        **{f'blocks_{i}': block(i) for i in range(depth)},
    }
    return DINOv2(d, depth, grid), {'params': params}


def _shapes(d: int, depth: int, grid: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        'cls_token': (1, 1, d),
        'pos_embed': (1, 1 + grid**2, d),
        'patch_embed.proj.weight': (d, 3, PATCH, PATCH),
        'patch_embed.proj.bias': (d,),
        'norm.weight': (d,),
        'norm.bias': (d,),
    }
    wide = {'attn.qkv': (3 * d, d), 'attn.proj': (d, d), 'mlp.fc1': (4 * d, d), 'mlp.fc2': (d, 4 * d)}
    for i in range(depth):
        for name in ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'ls1.gamma', 'ls2.gamma'):
            shapes[f'blocks.{i}.{name}'] = (d,)
        for name, shape in wide.items():
            shapes |= {f'blocks.{i}.{name}.weight': shape, f'blocks.{i}.{name}.bias': shape[:1]}
    return shapes


def _float(x):
    return jnp.asarray(x, jnp.float32)
