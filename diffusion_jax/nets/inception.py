"""Inception-v3 (arXiv 1512.00567) as the Frechet Inception Distance knows it: TensorFlow's network of 2015-12-05.

Names are those of torchvision's port. It differs from torchvision's own network in that average pooling leaves the
padding out of the mean, in that the last block pools by the maximum, and in 1008 classes. Batch normalisation, fixed
after training, is part of the convolutions here: see `interop.inception`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

SIDE = 299  # of the images that it was trained on
_SPATIAL_CHANNELS = 7  # sFID's: 7 * 17 * 17 = 2023 values, about as many as FID's 2048


class InceptionV3(nn.Module):
    """`[B, H, W, 3]` in about [-1, 1] -> (pool `[B, 2048]`, spatial `[B, s]`, logits `[B, 1008]`); H, W >= 75.

    - pool: the mean over the last feature map; FID, KID, precision and recall compare these.
    - spatial: the first 7 channels of Mixed_6d.branch1x1, TensorFlow's `mixed_6/conv`, flattened, s = 2023 for 299
      pixels: sFID's (arXiv 2103.03841).
    - logits: without the bias, which the Inception Score's first code left out and all others since then.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w 3']
    ) -> tuple[Float[Array, 'b 2048'], Float[Array, 'b s'], Float[Array, 'b 1008']]:
        """(pool, spatial, logits)."""
        x = _conv(x, 32, (3, 3), 'Conv2d_1a_3x3', stride=2, padding='VALID')
        x = _unpadded(x, 32, 'Conv2d_2a_3x3')
        x = _conv(x, 64, (3, 3), 'Conv2d_2b_3x3')
        x = _max_pool(x)
        x = _conv(x, 80, (1, 1), 'Conv2d_3b_1x1')
        x = _unpadded(x, 192, 'Conv2d_4a_3x3')
        x = _max_pool(x)
        x = Mixed5(32, name='Mixed_5b')(x)
        x = Mixed5(64, name='Mixed_5c')(x)
        x = Mixed5(64, name='Mixed_5d')(x)
        x = Mixed6a(name='Mixed_6a')(x)
        x = Mixed6(128, name='Mixed_6b')(x)
        x = Mixed6(160, name='Mixed_6c')(x)
        x = Mixed6(160, name='Mixed_6d')(x)
        spatial = x[..., :_SPATIAL_CHANNELS]  # a block's first channels are those of its first branch
        x = Mixed6(192, name='Mixed_6e')(x)
        x = Mixed7a(name='Mixed_7a')(x)
        x = Mixed7(_average_pool, name='Mixed_7b')(x)
        x = Mixed7(_same_max_pool, name='Mixed_7c')(x)
        pool = jnp.mean(x, axis=(1, 2))
        logits = nn.Dense(1008, use_bias=False, precision=jax.lax.Precision.HIGHEST, name='fc')(pool)
        return pool, spatial.reshape(len(x), -1), logits


class Mixed5(nn.Module):
    """Figure 5's block: 64 + 64 + 96 + `pool` channels."""

    pool: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w d']:
        """The branches, concatenated."""
        a = _conv(x, 64, (1, 1), 'branch1x1')
        b = _chain(x, 'branch5x5', [(48, (1, 1)), (64, (5, 5))])
        c = _chain(x, 'branch3x3dbl', [(64, (1, 1)), (96, (3, 3)), (96, (3, 3))])
        d = _conv(_average_pool(x), self.pool, (1, 1), 'branch_pool')
        return jnp.concatenate([a, b, c, d], axis=-1)


class Mixed6a(nn.Module):
    """Half the size, 384 + 96 + c channels."""

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 d']:
        """The branches, concatenated."""
        a = _halved(x, 384, 'branch3x3')
        b = _halved(_chain(x, 'branch3x3dbl', [(64, (1, 1)), (96, (3, 3))]), 96, 'branch3x3dbl_3')
        return jnp.concatenate([a, b, _max_pool(x)], axis=-1)


class Mixed6(nn.Module):
    """Figure 6's block with n = 7: four times 192 channels, through `inner` ones."""

    inner: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w 768']:
        """The branches, concatenated."""
        i = self.inner
        a = _conv(x, 192, (1, 1), 'branch1x1')
        b = _chain(x, 'branch7x7', [(i, (1, 1)), (i, (1, 7)), (192, (7, 1))])
        c = _chain(x, 'branch7x7dbl', [(i, (1, 1)), (i, (7, 1)), (i, (1, 7)), (i, (7, 1)), (192, (1, 7))])
        d = _conv(_average_pool(x), 192, (1, 1), 'branch_pool')
        return jnp.concatenate([a, b, c, d], axis=-1)


class Mixed7a(nn.Module):
    """Half the size, 320 + 192 + c channels."""

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 d']:
        """The branches, concatenated."""
        a = _halved(_conv(x, 192, (1, 1), 'branch3x3_1'), 320, 'branch3x3_2')
        b = _chain(x, 'branch7x7x3', [(192, (1, 1)), (192, (1, 7)), (192, (7, 1))])
        b = _halved(b, 192, 'branch7x7x3_4')
        return jnp.concatenate([a, b, _max_pool(x)], axis=-1)


class Mixed7(nn.Module):
    """Figure 7's block, whose branches fan out: 320 + 768 + 768 + 192 channels."""

    pool: Any  # [b h w c] -> [b h w c]

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w 2048']:
        """The branches, concatenated."""
        a = _conv(x, 320, (1, 1), 'branch1x1')
        b = _conv(x, 384, (1, 1), 'branch3x3_1')
        b = [_conv(b, 384, (1, 3), 'branch3x3_2a'), _conv(b, 384, (3, 1), 'branch3x3_2b')]
        c = _chain(x, 'branch3x3dbl', [(448, (1, 1)), (384, (3, 3))])
        c = [_conv(c, 384, (1, 3), 'branch3x3dbl_3a'), _conv(c, 384, (3, 1), 'branch3x3dbl_3b')]
        d = _conv(self.pool(x), 192, (1, 1), 'branch_pool')
        return jnp.concatenate([a, *b, *c, d], axis=-1)


def _conv(x: Array, features: int, kernel: tuple[int, int], name: str, stride: int = 1, padding: Any = 'SAME') -> Array:
    # On GPUs and TPUs the default precision would round to TF32 or bfloat16, and FID with it.
    precision = jax.lax.Precision.HIGHEST
    return nn.relu(nn.Conv(features, kernel, stride, padding, precision=precision, name=name)(x))


# XLA's convolutions without any padding take two to five times as long on CPUs, and its windows three to seven times as
# long as slices: so the network pads and cuts, and pools axis by axis.
_CUT = ((2, 0), (2, 0))


def _unpadded(x: Array, features: int, name: str) -> Array:
    """A 3 x 3 convolution without padding."""
    return _conv(x, features, (3, 3), name)[:, 1:-1, 1:-1]


def _halved(x: Array, features: int, name: str) -> Array:
    """A 3 x 3 convolution of stride 2 without padding."""
    return _conv(x, features, (3, 3), name, stride=2, padding=_CUT)[:, 1:, 1:]


def _chain(x: Array, name: str, layers: Sequence[tuple[int, tuple[int, int]]]) -> Array:
    """Convolutions `name_1`, `name_2`, ..."""
    for i, (features, kernel) in enumerate(layers, 1):
        x = _conv(x, features, kernel, f'{name}_{i}')
    return x


def _max_pool(x: Array) -> Array:
    for axis in (1, 2):
        x = functools.reduce(jnp.maximum, _of_windows(x, axis, stride=2))
    return x


def _same_max_pool(x: Array) -> Array:
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    for axis in (1, 2):
        x = functools.reduce(jnp.maximum, _of_windows(x, axis, stride=1))
    return x


def _average_pool(x: Array) -> Array:
    """Means over 3 x 3 pixels, those beyond the border left out."""
    kept = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    total, count = (jnp.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0))) for a in (x, kept))
    for axis in (1, 2):
        total, count = (functools.reduce(jnp.add, _of_windows(a, axis, stride=1)) for a in (total, count))
    return total / count


def _of_windows(x: Array, axis: int, stride: int) -> list[Array]:
    """The first, second and third element of every window of three along an axis."""
    last = (x.shape[axis] - 3) // stride * stride + 1
    return [jax.lax.slice_in_dim(x, i, i + last, stride, axis) for i in range(3)]
