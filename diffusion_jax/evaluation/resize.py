"""How pictures come to the size and range that a feature network takes: a part of every metric's protocol.

The kernel alone changes FID (arXiv 2104.11222), so each one has a name that reports quote.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ['Resize', 'imagenet', 'pytorch', 'tensorflow']

_EXACT = jax.lax.Precision.HIGHEST
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class Resize(NamedTuple):
    """A way to bring pictures to a network."""

    name: str
    apply: Callable[[Array], Array]  # [b, h, w, c] in 0..255 -> [b, side, side, c], a network's input


def tensorflow(side: int) -> Resize:
    """Of FID's first code, torch-fidelity and ADM's evaluator: bilinear at i n / side, without antialiasing.

    Pixel 0 of the result is pixel 0 of the picture: it moves by half a pixel. Values become (x - 128) / 128.
    """

    def places(n: int) -> np.ndarray:
        # In float32, as TensorFlow: where the product is a whole number, the last bit decides nothing.
        return (np.arange(side, dtype=np.float32) * np.float32(n / side)).astype(np.float64)

    return Resize(f'TensorFlow-1 bilinear to {side}', lambda x: (_bilinear(x, places) - 128) / 128)


def pytorch(side: int) -> Resize:
    """Of pytorch-fid: bilinear with half-pixel centres, without antialiasing. Values become x / 127.5 - 1."""

    def places(n: int) -> np.ndarray:
        return np.maximum((np.arange(side) + 0.5) * n / side - 0.5, 0)

    return Resize(f'PyTorch bilinear to {side}', lambda x: _bilinear(x, places) / 127.5 - 1)


def imagenet(side: int) -> Resize:
    """Bicubic with antialiasing as Pillow does it to float pictures, then ImageNet's mean and standard deviation."""

    def apply(x: Float[Array, 'b h w c']) -> Float[Array, 'b s s c']:
        x = jax.image.resize(x, (len(x), side, side, x.shape[-1]), 'bicubic', precision=_EXACT)
        mean, std = (jnp.asarray(v, x.dtype)[None, None, None] for v in (_MEAN, _STD))
        return (jnp.clip(x, 0, 255) / 255 - mean) / std

    return Resize(f'Pillow bicubic to {side}', apply)


def _bilinear(x: Array, places: Callable[[int], np.ndarray]) -> Array:
    rows, columns = (jnp.asarray(_weights(places(n), n), x.dtype) for n in x.shape[1:3])
    return jnp.einsum('hi,bijc,wj->bhwc', rows, x, columns, precision=_EXACT)


def _weights(at: np.ndarray, n: int) -> np.ndarray:
    """The matrix [len(at), n] that interpolates between n values at the places `at`, constant beyond the last."""
    low = np.floor(at).astype(int)
    matrix = np.zeros((len(at), n))
    np.add.at(matrix, (np.arange(len(at)), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(len(at)), np.minimum(low + 1, n - 1)), at - low)
    return matrix
