"""What the networks are made of. Images are `[B, H, W, C]`, embeddings `[B, E]`.

`dtype` is the compute type of a module: None follows the inputs and the parameters, which are always float32.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

unit_init = nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform')
# Ho et al. start every residual branch at (almost) zero: 1e-10 rather than 0 keeps the gradient alive behind it.
small_init = nn.initializers.variance_scaling(1e-10, 'fan_avg', 'uniform')


def sinusoid(c_noise: Float[Array, ' b'], dim: int, max_period: float = 10_000.0) -> Float[Array, 'b {dim}']:
    """Sinusoidal embedding of DDPM (arXiv 2006.11239, official code).

    [sin(w_0 c) ... sin(w_{h-1} c), cos(w_0 c) ...] with h = dim // 2 and w_i = max_period^(-i / (h - 1)). Computed
    in float32 at least, whatever the network's compute type: a phase of up to 1000 does not survive bfloat16.

    Args:
        c_noise: any real values; the frequencies go from 1 to 1 / max_period.
        dim: size of the embedding, even and at least 4.
        max_period: 2 pi times this is the longest period.

    Raises:
        ValueError: `dim` is odd or less than 4.
    """
    if dim % 2 or dim < 4:
        raise ValueError(f'a sinusoidal embedding needs an even size of at least 4, got {dim}')
    half = dim // 2
    dtype = jnp.promote_types(c_noise.dtype, jnp.float32)
    frequencies = jnp.exp(-jnp.log(jnp.asarray(max_period, dtype)) * jnp.arange(half, dtype=dtype) / (half - 1))
    phase = c_noise.astype(dtype)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


def identity(x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    """Keep the resolution."""
    return x


def double(x: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 c']:
    """Nearest-neighbour upsampling, `[B, H, W, C] -> [B, 2H, 2W, C]`."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def halve(x: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 c']:
    """Mean over 2x2 pixels, `[B, H, W, C] -> [B, H/2, W/2, C]`; H and W are even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def conv(features: int, name: str, dtype: Any, stride: int = 1, init: Callable[..., Array] = unit_init) -> nn.Conv:
    """A 3x3 convolution with SAME padding."""
    return nn.Conv(features, (3, 3), (stride, stride), dtype=dtype, kernel_init=init, name=name)


def dense(features: int, name: str, dtype: Any, init: Callable[..., Array] = unit_init) -> nn.Dense:
    """A dense layer over the last axis; over an image it is the 1x1 convolution ("nin") of DDPM."""
    return nn.Dense(features, dtype=dtype, kernel_init=init, name=name)


class GroupNorm(nn.Module):
    """Group normalisation (arXiv 1803.08494) with eps 1e-6 and statistics in float32.

    32 groups as in DDPM, fewer where a group would have less than 4 channels (EDM's rule; a group of one channel would
    lose every feature map's mean). The statistics are folded into one scale and one shift per sample and channel, so
    that the image is read twice and written once, without being reshaped into groups.
    """

    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b h w c'],
        scale: Float[Array, 'b c'] | None = None,
        shift: Float[Array, 'b c'] | None = None,
    ) -> Float[Array, 'b h w c']:
        """Normalise; with `scale` and `shift` the result is norm(x) * (1 + scale) + shift (FiLM)."""
        b, c = x.shape[0], x.shape[-1]
        groups = max(g for g in range(1, min(32, max(1, c // 4)) + 1) if c % g == 0)
        gain = self.param('scale', nn.initializers.ones, (c,))[None, :]
        bias = self.param('bias', nn.initializers.zeros, (c,))[None, :]
        y = x.astype(jnp.promote_types(x.dtype, jnp.float32))

        def over_group(per_channel: Array) -> Array:
            mean = per_channel.reshape(b, groups, c // groups).mean(-1, keepdims=True)
            return jnp.broadcast_to(mean, (b, groups, c // groups)).reshape(b, c)

        mean = over_group(y.mean((1, 2)))
        variance = over_group(jnp.square(y - mean[:, None, None, :]).mean((1, 2)))
        if scale is not None and shift is not None:
            gain, bias = gain * (1 + scale), bias * (1 + scale) + shift
        gain = gain * jax.lax.rsqrt(variance + 1e-6)
        y = y * gain[:, None, None, :] + (bias - mean * gain)[:, None, None, :]
        return y.astype(self.dtype or x.dtype)


class ResBlock(nn.Module):
    """Residual block of DDPM, with the options of iDDPM and ADM (arXiv 2102.09672, 2105.05233).

    `scale_shift`: the embedding modulates the second normalisation instead of being added before it. `resample`
    (`identity`, `halve` or `double`) changes the resolution inside the block, on both branches.
    """

    channels: int
    dropout: float = 0.0
    scale_shift: bool = False
    resample: Callable[[Array], Array] = identity
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b h w c'], emb: Float[Array, 'b e'], deterministic: bool
    ) -> Float[Array, 'b h2 w2 d']:
        """`[B, H, W, C] -> [B, H', W', channels]`."""
        h = nn.silu(GroupNorm(self.dtype, name='norm_1')(x))
        h = conv(self.channels, 'conv_1', self.dtype)(self.resample(h))
        x = self.resample(x)
        emb = dense(self.channels * (1 + self.scale_shift), 'emb', self.dtype)(nn.silu(emb))
        if self.scale_shift:
            h = GroupNorm(self.dtype, name='norm_2')(h, *jnp.split(emb, 2, axis=-1))
        else:
            h = GroupNorm(self.dtype, name='norm_2')(h + emb[:, None, None, :])
        h = nn.Dropout(self.dropout, deterministic=deterministic)(nn.silu(h))
        h = conv(self.channels, 'conv_2', self.dtype, init=small_init)(h)
        if x.shape[-1] != self.channels:
            x = dense(self.channels, 'shortcut', self.dtype)(x)
        return x + h


class Attention(nn.Module):
    """Residual self-attention over all pixels, with `heads` heads."""

    heads: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
        """`[B, H, W, C] -> [B, H, W, C]`; ValueError when the heads do not divide the channels."""
        b, h, w, c = x.shape
        if c % self.heads:
            raise ValueError(f'{self.heads} attention heads do not divide {c} channels')
        y = GroupNorm(self.dtype, name='norm')(x).reshape(b, h * w, c)
        q, k, v = (
            dense(c, name, self.dtype)(y).reshape(b, h * w, self.heads, c // self.heads) for name in ('q', 'k', 'v')
        )
        y = jax.nn.dot_product_attention(q, k, v).reshape(b, h, w, c)
        return x + dense(c, 'out', self.dtype, init=small_init)(y)
