"""What the networks are made of. x is `[B, ..., C]` with one spatial axis or more, embeddings are `[B, E]`.

`dtype` is the compute type of a module: None follows the inputs and the parameters, which are always float32.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

from diffusion_jax.nets.layout import DDPM, Layout
from diffusion_jax.types import Masked

unit_init = nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform')
# Ho et al. start every residual branch at (almost) zero: 1e-10 rather than 0 keeps the gradient alive behind it.
small_init = nn.initializers.variance_scaling(1e-10, 'fan_avg', 'uniform')


def sinusoid(
    c_noise: Float[Array, ' b'],
    dim: int,
    max_period: float = 10_000.0,
    shift: int = 1,
    cosines_first: bool = False,
) -> Float[Array, 'b {dim}']:
    """Sinusoidal embedding of DDPM (arXiv 2006.11239, official code).

    [sin(w_0 c) ... sin(w_{h-1} c), cos(w_0 c) ...] with h = dim // 2 and w_i = max_period^(-i / (h - shift)). Computed
    in float32 at least, whatever the network's compute type: a phase of up to 1000 does not survive bfloat16.

    Args:
        c_noise: any real values; the frequencies go from 1 to 1 / max_period.
        dim: size of the embedding, even and at least 4.
        max_period: 2 pi times this is the longest period, where `shift` is 1.
        shift: below h; 1 in DDPM's code, 0 in OpenAI's.
        cosines_first: the other order, OpenAI's.

    Raises:
        ValueError: `dim` is odd or less than 4, or `shift` is not below h.
    """
    if dim % 2 or dim < 4:
        raise ValueError(f'a sinusoidal embedding needs an even size of at least 4, got {dim}')
    half = dim // 2
    if shift >= half:
        raise ValueError(f'shift={shift} must be below {half}, half the size of the sinusoidal embedding')
    dtype = jnp.promote_types(c_noise.dtype, jnp.float32)
    frequencies = jnp.exp(-jnp.log(jnp.asarray(max_period, dtype)) * jnp.arange(half, dtype=dtype) / (half - shift))
    phase = c_noise.astype(dtype)[:, None] * frequencies[None, :]
    waves = jnp.sin(phase), jnp.cos(phase)
    return jnp.concatenate(waves[::-1] if cosines_first else waves, axis=-1)


def over(coefficient: Shaped[Array, 'b d'], x: Float[Array, 'b ... c']) -> Shaped[Array, 'b ... d']:
    """A number per sample and channel (or one for all), with axes of size one for x's spatial ones."""
    b, c = coefficient.shape
    return coefficient.reshape(b, *(1,) * (x.ndim - 2), c)


def upsample(x: Float[Array, 'b ... c'], strides: Sequence[int]) -> Float[Array, 'b ... c']:
    """Nearest neighbours: every spatial axis longer by its stride."""
    b, *space, c = x.shape
    pairs = list(zip(space, strides, strict=True))
    x = x.reshape(b, *(n for size in space for n in (size, 1)), c)
    x = jnp.broadcast_to(x, (b, *(n for pair in pairs for n in pair), c))
    return x.reshape(b, *(size * stride for size, stride in pairs), c)


def downsample(x: Float[Array, 'b ... c'], strides: Sequence[int]) -> Float[Array, 'b ... c']:
    """Means over cells: every spatial axis shorter by its stride, which divides it."""
    b, *space, c = x.shape
    cells = [(size // stride, stride) for size, stride in zip(space, strides, strict=True)]
    return x.reshape(b, *(n for cell in cells for n in cell), c).mean(tuple(range(2, 2 * len(space) + 1, 2)))


@dataclass(frozen=True)
class Conv3:
    """Convolutions that are 3 wide along every spatial axis, as layers of the module that calls them.

    Attributes:
        padding: 'zero', or 'circular' where every axis is periodic.
        dtype: compute type.
        layout: says on which sides a sum over a stride is padded.
    """

    padding: str = 'zero'
    dtype: Any = None
    layout: Layout = DDPM

    def __call__(
        self,
        x: Float[Array, 'b ... c'],
        features: int,
        name: str,
        strides: Sequence[int] | None = None,
        init: Callable[..., Array] = unit_init,
    ) -> Float[Array, 'b ... d']:
        """Every spatial axis divided by its stride; padded as XLA's SAME is, or symmetrically, whatever with.

        Raises:
            ValueError: a padding other than these.
        """
        if self.padding not in ('zero', 'circular'):
            raise ValueError(f"padding={self.padding!r} must be 'zero' or 'circular'")
        window = (3,) * (x.ndim - 2)
        strides = tuple(strides or (1,) * len(window))
        how = [(1, 1)] * len(window) if self.layout.symmetric else 'SAME'
        if self.padding == 'circular':
            pads = jax.lax.padtype_to_pads(x.shape[1:-1], window, strides, 'SAME') if how == 'SAME' else how
            x, how = jnp.pad(x, [(0, 0), *pads, (0, 0)], mode='wrap'), 'VALID'
        return nn.Conv(features, window, strides, how, dtype=self.dtype, kernel_init=init, name=name)(x)


def dense(features: int, name: str, dtype: Any, init: Callable[..., Array] = unit_init) -> nn.Dense:
    """A dense layer over the last axis; over an image it is the 1x1 convolution ("nin") of DDPM."""
    return nn.Dense(features, dtype=dtype, kernel_init=init, name=name)


class GroupNorm(nn.Module):
    """Group normalisation (arXiv 1803.08494) with statistics in float32.

    By default eps is 1e-6 and there are 32 groups as in DDPM, fewer where a group would have less than 4 channels
    (EDM's rule; a group of one channel would lose every feature map's mean). The statistics are folded into one scale
    and one shift per sample and channel, so that the image is read twice and written once, without being reshaped into
    groups.
    """

    dtype: Any = None
    layout: Layout = DDPM

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b ... c'],
        scale: Float[Array, 'b c'] | None = None,
        shift: Float[Array, 'b c'] | None = None,
    ) -> Float[Array, 'b ... c']:
        """Normalise; with `scale` and `shift` the result is norm(x) * (1 + scale) + shift (FiLM).

        Raises:
            ValueError: the layout's groups do not divide the channels.
        """
        b, c = x.shape[0], x.shape[-1]
        groups = self.layout.groups or max(g for g in range(1, min(32, max(1, c // 4)) + 1) if c % g == 0)
        if c % groups:
            raise ValueError(f'{groups} groups of a normalisation do not divide {c} channels')
        gain = self.param('scale', nn.initializers.ones, (c,))[None, :]
        bias = self.param('bias', nn.initializers.zeros, (c,))[None, :]
        y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        space = tuple(range(1, x.ndim - 1))

        def over_group(per_channel: Array) -> Array:
            mean = per_channel.reshape(b, groups, c // groups).mean(-1, keepdims=True)
            return jnp.broadcast_to(mean, (b, groups, c // groups)).reshape(b, c)

        mean = over_group(y.mean(space))
        variance = over_group(jnp.square(y - over(mean, y)).mean(space))
        if scale is not None and shift is not None:
            gain, bias = gain * (1 + scale), bias * (1 + scale) + shift
        gain = gain * jax.lax.rsqrt(variance + self.layout.eps)
        y = y * over(gain, y) + over(bias - mean * gain, y)
        return y.astype(self.dtype or x.dtype)


def scaled(x: Float[Array, '*shape'], layout: Layout) -> Float[Array, '*shape']:
    """A residual sum as the layout has it."""
    return x if layout.skip_scale == 1 else x * jnp.asarray(layout.skip_scale, x.dtype)


class ResBlock(nn.Module):
    """Residual block of DDPM, with the options of iDDPM and ADM (arXiv 2102.09672, 2105.05233).

    `scale_shift`: the embedding modulates the second normalisation instead of being added before it. `resample`
    (such as `upsample` by some strides) changes the resolution inside the block, on both branches.
    """

    channels: int
    dropout: float = 0.0
    scale_shift: bool = False
    resample: Callable[[Array], Array] | None = None
    padding: str = 'zero'
    dtype: Any = None
    layout: Layout = DDPM

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b ... c'], emb: Float[Array, 'b e'] | None, deterministic: bool
    ) -> Float[Array, 'b ... d']:
        """`[B, ..., C] -> [B, ..., channels]`; without an embedding nothing is told, as in an autoencoder."""
        conv = Conv3(self.padding, self.dtype, self.layout)
        h = nn.silu(GroupNorm(self.dtype, self.layout, name='norm_1')(x))
        if self.resample is not None:
            x, h = self.resample(x), self.resample(h)
        h = conv(h, self.channels, 'conv_1')
        norm = GroupNorm(self.dtype, self.layout, name='norm_2')
        if emb is None:
            h = norm(h)
        else:
            told = dense(self.channels * (1 + self.scale_shift), 'emb', self.dtype)(nn.silu(emb))
            h = norm(h, *jnp.split(told, 2, axis=-1)) if self.scale_shift else norm(h + over(told, h))
        h = nn.Dropout(self.dropout, deterministic=deterministic)(nn.silu(h))
        h = conv(h, self.channels, 'conv_2', init=small_init)
        if x.shape[-1] != self.channels or (self.layout.projects and self.resample is not None):
            x = dense(self.channels, 'shortcut', self.dtype)(x)
        return scaled(x + h, self.layout)


class Attention(nn.Module):
    """Residual self-attention with `heads` heads, over all pixels or only over those along some spatial axes.

    `axes` are the axes over which it goes, 0 for the first spatial one: (1, 2) of a video stays within each frame,
    (0,) relates the frames of each pixel. None means all.
    """

    heads: int = 1
    dtype: Any = None
    axes: Sequence[int] | None = None
    layout: Layout = DDPM

    @nn.compact
    def __call__(self, x: Float[Array, 'b ... c']) -> Float[Array, 'b ... c']:
        """`[B, ..., C] -> [B, ..., C]`; ValueError when the heads do not divide the channels, or for another axis."""
        c, space = x.shape[-1], x.ndim - 2
        axes = range(space) if self.axes is None else self.axes
        if set(axes) - set(range(space)):
            raise ValueError(f'attention over the axes {(*axes,)}, but the spatial axes of x are 0 .. {space - 1}')
        last = range(space - len(axes) + 1, space + 1)
        y = jnp.moveaxis(GroupNorm(self.dtype, self.layout, name='norm')(x), [a + 1 for a in axes], last)
        rows = y.reshape(-1, math.prod(y.shape[i] for i in last), c)
        q, k, v = (split_heads(dense(c, name, self.dtype)(rows), self.heads) for name in ('q', 'k', 'v'))
        y = jax.nn.dot_product_attention(q, k, v).reshape(y.shape)
        y = dense(c, 'out', self.dtype, init=small_init)(jnp.moveaxis(y, last, [a + 1 for a in axes]))
        return scaled(x + y, self.layout)


class CrossAttention(nn.Module):
    """Residual attention of all pixels to the tokens that are there; where none is, x stays as it is."""

    heads: int = 1
    dtype: Any = None
    layout: Layout = DDPM

    @nn.compact
    def __call__(self, x: Float[Array, 'b ... c'], tokens: Masked) -> Float[Array, 'b ... c']:
        """`x [B, ..., C]`, tokens `[B, L, F]` -> `[B, ..., C]`; ValueError if the heads do not divide the channels."""
        b, c = x.shape[0], x.shape[-1]
        y = GroupNorm(self.dtype, self.layout, name='norm')(x).reshape(b, -1, c)
        q = split_heads(dense(c, 'q', self.dtype)(y), self.heads)
        k, v = (
            split_heads(dense(c, name, self.dtype)(tokens.values.astype(y.dtype)), self.heads) for name in ('k', 'v')
        )
        y = jax.nn.dot_product_attention(q, k, v, mask=tokens.mask[:, None, None, :]).reshape(x.shape)
        y = dense(c, 'out', self.dtype, init=small_init)(y)
        return x + jnp.where(over(jnp.any(tokens.mask, axis=1, keepdims=True), y), y, 0)


class AttentionPool(nn.Module):
    """All pixels as one vector: their mean asks itself and each of them (ADM's classifier; CLIP, arXiv 2103.00020).

    Each of them has a learned position: where a stroke lies tells a 6 from a 9.
    """

    heads: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b ... c']) -> Float[Array, 'b c']:
        """`[B, ..., C] -> [B, C]`; ValueError when the heads do not divide the channels."""
        b, c = x.shape[0], x.shape[-1]
        rows = x.reshape(b, -1, c)
        rows = jnp.concatenate([rows.mean(1, keepdims=True), rows], axis=1)
        positions = self.param('positions', nn.initializers.normal(c**-0.5), rows.shape[1:])
        rows = rows + positions[None].astype(rows.dtype)
        q = split_heads(dense(c, 'q', self.dtype)(rows[:, :1]), self.heads)
        k, v = (split_heads(dense(c, name, self.dtype)(rows), self.heads) for name in ('k', 'v'))
        return dense(c, 'out', self.dtype)(jax.nn.dot_product_attention(q, k, v).reshape(b, c))


def split_heads(x: Float[Array, 'b n c'], heads: int) -> Float[Array, 'b n h d']:
    """`[B, N, C] -> [B, N, heads, C / heads]`; ValueError when the heads do not divide the channels."""
    b, n, c = x.shape
    if c % heads:
        raise ValueError(f'{heads} attention heads do not divide {c} channels')
    return x.reshape(b, n, heads, c // heads)
