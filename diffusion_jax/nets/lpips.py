"""LPIPS with VGG16's features, as the `lpips` package 0.1 computes it (arXiv 1801.03924, eq. 1)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's mean and standard deviation, for images in [-1, 1]
SCALE = (0.458, 0.448, 0.450)


class Conv(NamedTuple):
    """A 3x3 convolution."""

    kernel: Array  # [3, 3, c_in, c_out]
    bias: Array  # [c_out]


class Params(NamedTuple):
    """Five stages of convolutions, each stage followed by a weight per channel."""

    stages: Sequence[Sequence[Conv]]
    w: Sequence[Array]  # of [c], not negative


def lpips(params: Params, a: Float[Array, 'b h w c'], b: Float[Array, 'b h w c']) -> Float[Array, ' b']:
    """d(a, b) = sum_l mean_hw sum_c w_l (y_l(a) - y_l(b))^2, with the unit-normalised features y_l of each stage.

    The paper writes ||w_l (y_l(a) - y_l(b))||^2; the published weights are the squares of its w_l.

    Args:
        params: as `interop.lpips.read` reads them.
        a: images in [-1, 1]; one channel stands for three equal ones.
        b: the same.

    Raises:
        ValueError: for images of other than 1 or 3 channels, or with less than 16 pixels along a side.
    """
    d = jnp.zeros(len(a), params.w[0].dtype)
    for w, f, g in zip(params.w, features(params.stages, a), features(params.stages, b), strict=True):
        d += jnp.mean((unit(f) - unit(g)) ** 2 @ w, axis=(1, 2))
    return d


def features(stages: Sequence[Sequence[Conv]], x: Float[Array, 'b h w c']) -> list[Float[Array, 'b _ _ _']]:
    """What each stage ends with: VGG16's relu1_2, relu2_2, relu3_3, relu4_3, relu5_3, at 1, 1/2, ... 1/16 of the size.

    Raises:
        ValueError: as `lpips`.
    """
    if x.shape[-1] not in (1, 3) or min(x.shape[1:3]) < 2 ** (len(stages) - 1):
        raise ValueError(f'LPIPS needs images of 16x16 at least, with 1 or 3 channels; got {x.shape[1:]}')
    dtype = stages[0][0].kernel.dtype
    x = jnp.broadcast_to(x.astype(dtype), (*x.shape[:3], 3))
    h = (x - jnp.array(SHIFT, dtype)[None, None, None]) / jnp.array(SCALE, dtype)[None, None, None]
    out = []
    for i, convs in enumerate(stages):
        if i:
            h = nn.max_pool(h, (2, 2), (2, 2))
        for kernel, bias in convs:
            h = jax.lax.conv_general_dilated(h, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
            h = nn.relu(h + bias[None, None, None])
        out.append(h)
    return out


def unit(f: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    """Every pixel's features divided by their norm; 0 where there are none."""
    square = jnp.sum(f**2, axis=-1, keepdims=True)
    # Where all features are 0 the root has no derivative, and the pixel is 0 over anything.
    return f / (jnp.sqrt(jnp.where(square == 0, 1, square)) + 1e-10)
