"""The weights of FID's Inception-v3, from the file that pytorch-fid and torch-fidelity publish."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.interop import torch_file
from diffusion_jax.nets.inception import SIDE, InceptionV3

_EPSILON = 1e-3  # of every batch normalisation
WHAT = "FID's Inception-v3 (pt_inception-2015-12-05-6726825d.pth)"


def read(path: str | Path) -> Any:
    """The parameters of `nets.inception.InceptionV3` in float32, batch normalisation folded into the convolutions.

    Args:
        path: `pt_inception-2015-12-05-6726825d.pth` of https://github.com/mseitzer/pytorch-fid/releases, or
            `weights-inception-2015-12-05-6726825d.pth` of https://github.com/toshas/torch-fidelity/releases.

    Raises:
        UserError: if the file cannot be read or is not what it should be.
    """
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    tree = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)['params']
    layers = {layer[:-1]: v.shape for layer, v in _paths(tree) if layer[-1] == 'kernel'}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, shape in layers.items():
        name = '.'.join(layer)
        if len(shape) == 2:
            shapes[f'{name}.weight'] = shape[::-1]
        else:
            h, w, c, o = shape
            shapes[f'{name}.conv.weight'] = (o, c, h, w)
            shapes |= {f'{name}.bn.{part}': (o,) for part in ('weight', 'bias', 'running_mean', 'running_var')}
    tensors = torch_file.read_as(path, WHAT, shapes)
    params: dict[str, Any] = {}
    for (*blocks, last), shape in layers.items():
        node = params
        for block in blocks:
            node = node.setdefault(block, {})
        name = '.'.join([*blocks, last])
        dense = len(shape) == 2
        node[last] = {'kernel': _float(tensors[f'{name}.weight'].T)} if dense else _folded(tensors, name)
    return {'params': params}


def _folded(tensors, name):
    """Gamma (W x - mean) / sqrt(var + epsilon) + beta as one convolution."""
    gamma, beta, mean, var = (
        tensors[f'{name}.bn.{part}'].astype(np.float64) for part in ('weight', 'bias', 'running_mean', 'running_var')
    )
    scale = gamma / np.sqrt(var + _EPSILON)
    # PyTorch's kernels are [out, in, h, w].
    kernel = tensors[f'{name}.conv.weight'].transpose(2, 3, 1, 0) * scale
    return {'kernel': _float(kernel), 'bias': _float(beta - mean * scale)}


def _paths(tree, path=()):
    for name, value in tree.items():
        yield from _paths(value, (*path, name)) if isinstance(value, dict) else [((*path, name), value)]


def _float(x):
    return jnp.asarray(x, jnp.float32)
