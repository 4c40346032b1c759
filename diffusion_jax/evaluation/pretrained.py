"""Feature spaces of published networks, from files of weights that the user names."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from diffusion_jax.data.quantise import to_uint8
from diffusion_jax.devices.processes import gather
from diffusion_jax.devices.sharding import make_mesh, replicated, spread
from diffusion_jax.errors import UserError, nearest
from diffusion_jax.evaluation import resize as resizes
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.home import expanded
from diffusion_jax.interop import dinov2 as dinov2_file
from diffusion_jax.interop import inception as inception_file
from diffusion_jax.nets.inception import SIDE, InceptionV3

_FID_WEIGHTS = '6726825d'  # how the SHA-256 of the published file of FID's Inception begins
_RESIZES = {'tensorflow': resizes.tensorflow, 'pytorch': resizes.pytorch}
_STAND_INS = (
    "without it {'name': 'pca', 'dim': 64}, {'name': 'pixels'} or {'name': 'classifier', 'path': ...} are honest "
    'feature spaces, but none of them is FID'
)


def inception(
    shape: tuple[int, ...], path: str | None = None, resize: str = 'tensorflow', batch_size: int = 64
) -> Features:
    """FID's Inception-v3: rows are its 2048 pooled features, with the spatial ones and the logits beside them.

    Args:
        shape: of an image, (h, w, 1 or 3).
        path: file of the weights, see `interop.inception.read`.
        resize: 'tensorflow' (FID's own) or 'pytorch' (pytorch-fid's); see `evaluation.resize`.
        batch_size: images at once, over all devices.

    Raises:
        UserError: if there is no such file or resize, the file is another's, or the data are no images.
    """
    if path is None:
        raise UserError(
            f"config.eval.features: 'inception' needs path=FILE of {inception_file.WHAT}, which "
            f'https://github.com/mseitzer/pytorch-fid/releases has; {_STAND_INS}'
        )
    if resize not in _RESIZES:
        raise UserError(f'config.eval.features.resize={resize!r} is unknown; {nearest(resize, _RESIZES)}')
    _check_images(shape)
    params, way = inception_file.read(path), _RESIZES[resize](SIDE)
    net: Any = InceptionV3()

    def run(params: Any, x: Array) -> Outputs:
        return Outputs(*net.apply(params, way.apply(_rgb(x))))

    digest = file_hash(path)
    outputs = in_batches(run, params, batch_size)
    return Features('inception-2048', outputs, digest, way.name, inception=digest.startswith(_FID_WEIGHTS))


def dinov2(shape: tuple[int, ...], path: str | None = None, batch_size: int = 32) -> Features:
    """DINOv2: rows are the normalised class token, of images of 224 pixels (arXiv 2306.04675).

    Args:
        shape: of an image, (h, w, 1 or 3).
        path: file of the weights of ViT-S, -B or -L, see `interop.dinov2.read`.
        batch_size: images at once, over all devices.

    Raises:
        UserError: if there is no such file, it is another's, or the data are no images.
    """
    if path is None:
        raise UserError(
            f"config.eval.features: 'dinov2' needs path=FILE of {dinov2_file.WHAT}, which "
            f'https://github.com/facebookresearch/dinov2 links to; {_STAND_INS}'
        )
    _check_images(shape)
    net, params = dinov2_file.read(path)
    way = resizes.imagenet(224)

    def run(params: Any, x: Array) -> Outputs:
        rows: Any = net.apply(params, way.apply(_rgb(x)))
        return Outputs(rows)

    return Features(f'dinov2-{net.dim}', in_batches(run, params, batch_size), file_hash(path), way.name)


def in_batches(run: Callable[[Any, Array], Outputs], params: Any, batch_size: int) -> Callable[[Any], Outputs]:
    """Any number of images through a network, in batches of one size (so that it compiles once), over all devices.

    Args:
        run: (params, images [b, h, w, c], whole numbers 0..255 in float32) -> Outputs.
        params: of the network, copied to every device.
        batch_size: rounded up to a multiple of the devices; the last batch is padded.

    Returns:
        The function of images [n, h, w, c] in [-1, 1], rounded to uint8 first, as they would be stored.
    """
    mesh = make_mesh()
    devices = mesh.shape['data']
    size = -(-batch_size // devices) * devices
    placed, jitted = jax.device_put(params, replicated(mesh)), jax.jit(run)

    def outputs(x: Any) -> Outputs:
        images, parts = to_uint8(np.asarray(x)), []
        for first in range(0, len(images), size):
            batch = images[first : first + size]
            padded = np.pad(batch, [(0, size - len(batch))] + [(0, 0)] * (batch.ndim - 1))
            out = jitted(placed, spread(mesh, padded.astype(np.float32)))
            kept = slice(len(batch))
            parts.append(jax.tree.map(lambda a, kept=kept: gather(a)[kept], out))
        return jax.tree.map(lambda *a: np.concatenate(a), *parts)

    return outputs


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, to 16 hexadecimal digits."""
    with expanded(path).open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()[:16]


def _check_images(shape):
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise UserError(f'config.eval.features: this network takes images with 1 or 3 channels, not data {shape}')


def _rgb(x: Array) -> Array:
    """Grey pictures as three equal channels."""
    return jnp.broadcast_to(x, (*x.shape[:3], 3))
