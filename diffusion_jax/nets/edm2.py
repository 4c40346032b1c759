"""EDM2's U-Net, which preserves magnitudes (arXiv 2312.02696, config G), over one, two or three spatial axes."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import downsample, over, split_heads, upsample
from diffusion_jax.nets.condition import rows_of
from diffusion_jax.nets.magnitude import MPFourier, MPLayer, mp_cat, mp_silu, mp_sum, normalised
from diffusion_jax.nets.remat import computed_again
from diffusion_jax.nets.unet import check_size
from diffusion_jax.types import Cond


class EDM2(nn.Module):
    """Image-to-image network; the paper's have 128 (XS), 192 (S), 256 (M), 320 (L), 384 (XL), 448 (XXL) channels.

    No layer has a bias and none normalises by groups: weights, sums and concatenations keep magnitudes instead. What is
    trained of a layer is the direction of its weights, whose length the optimiser brings back after every update
    (`optim.forced_norm`). A class is a unit vector; that which tells nothing is zeros, and has no weights.

    Attributes:
        channels: width of the first level.
        multipliers: width of each level in units of `channels`; the resolution halves from one to the next.
        blocks: residual blocks per level on the way down (one more on the way up).
        attention: heights of an image at which every block ends with self-attention; the middle always does.
        dropout: rate inside the residual blocks.
        head_channels: least channels of an attention head: a width c has c // head_channels heads.
        res_balance: share of the residual branch in a sum, in [0, 1], as all balances are.
        attn_balance: share of attention.
        label_balance: share of the classes beside the noise level.
        concat_balance: share of what the way down left, beside the way up.
        clip: the largest size of what a block hands on, None: any.
        out_channels: channels of the result; twice the image's for a learned variance.
        condition: a pytree of `Part`, all classes; None for an unconditional network.
        remat: what the backward pass keeps of a block and what it computes again: None keeps all, the others, see
            `REMAT`, the block's input and no more than their name says. The values are the same.
        dtype: compute type, such as 'bfloat16'; None follows the input. Parameters, magnitudes, the embedding and the
            result are float32 in any case (float64 for a float64 input).
    """

    channels: int = 192
    multipliers: Sequence[int] = (1, 2, 3, 4)
    blocks: int = 3
    attention: Sequence[int] = (16, 8)
    dropout: float = 0.0
    head_channels: int = 64
    res_balance: float = 0.3
    attn_balance: float = 0.3
    label_balance: float = 0.5
    concat_balance: float = 0.5
    clip: float | None = 256.0
    out_channels: int = 3
    condition: Any = None
    remat: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b ... c'],
        c_noise: Float[Array, 'b ...'],
        cond: Cond = None,
        deterministic: bool = True,
    ) -> Float[Array, 'b ... d']:
        """Run the network.

        Args:
            x: `[B, L, C]`, `[B, H, W, C]` or `[B, T, H, W, C]`, of unit magnitude; every axis must be divisible by 2 as
                often as there are levels but one.
            c_noise: noise level `[B]`, any real values; two of them `[B, 2]` for a flow map.
            cond: rows of the condition's classes; None tells nothing of any.
            deterministic: False turns dropout on and needs a 'dropout' key.

        Returns:
            Of x's shape but for `out_channels`, 0 at initialisation, float32 (float64 when x is).

        Raises:
            ValueError: a size that cannot be halved often enough, a width with attention below `head_channels`, a
                condition that is not the network's or not of classes, or a `c_noise` of another shape.
        """
        check_size(x.shape[1:-1], None, len(self.multipliers))
        emb, widths = self._told(c_noise, cond), [self.channels * m for m in self.multipliers]
        levels, strides = [*enumerate(widths)], (2,) * (x.ndim - 2)
        down, up = (functools.partial(f, strides=strides) for f in (downsample, upsample))
        h = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)  # there is no other bias
        window = (3,) * len(strides)
        h = MPLayer(self.channels * self.multipliers[0], window, name='conv_in')(h.astype(self.dtype or h.dtype))
        skips = [h]
        for level, width in levels:
            if level > 0:
                h = self._block(h.shape[-1], f'down_{level - 1}_resample', resample=down)(h, emb, deterministic)
                skips.append(h)
            for i in range(self.blocks):
                attends = _height(h) in self.attention
                h = self._block(width, f'down_{level}_block_{i}', attends=attends)(h, emb, deterministic)
                skips.append(h)
        h = self._block(widths[-1], 'middle_block_0', decodes=True, attends=True)(h, emb, deterministic)
        h = self._block(widths[-1], 'middle_block_1', decodes=True)(h, emb, deterministic)
        for level, width in reversed(levels):
            for i in range(self.blocks + 1):
                h, attends = mp_cat(h, skips.pop(), self.concat_balance), _height(h) in self.attention
                block = self._block(width, f'up_{level}_block_{i}', decodes=True, attends=attends)
                h = block(h, emb, deterministic)
            if level > 0:
                block = self._block(width, f'up_{level}_resample', decodes=True, resample=up)
                h = block(h, emb, deterministic)
        gain = self.param('gain', nn.initializers.zeros, ())
        out = MPLayer(self.out_channels, window, name='conv_out')(h, gain)
        return out.astype(jnp.promote_types(x.dtype, jnp.float32))

    def _block(self, width: int, name: str, **how: Any) -> 'Block':
        block = computed_again(Block, self.remat, static_argnums=(3,))
        balances = self.res_balance, self.attn_balance
        return block(width, self.dropout, self.head_channels, *balances, self.clip, name=name, **how)

    def _told(self, c_noise: Array, cond: Cond) -> Array:
        """The noise levels and the classes as one vector `[B, E]`."""
        if c_noise.shape[1:] not in ((), (2,)):
            raise ValueError(f'c_noise must be [B] or [B, 2]; got {c_noise.shape}')
        widths = [self.channels * m for m in self.multipliers]
        levels = []
        for i, c in enumerate(c_noise.reshape(len(c_noise), -1).T):
            name = 'second_' * i
            waves = MPFourier(widths[0], name=f'{name}fourier')(c)
            levels.append(MPLayer(max(widths), name=f'{name}noise')(waves))
        emb, labels = _mean(levels), self._labels(cond, len(c_noise), max(widths))
        return mp_silu(mp_sum(emb, _mean(labels), self.label_balance) if labels else emb)

    def _labels(self, cond: Cond, b: int, features: int) -> list[Array]:
        """Of every class that is told, one `[B, E]`."""
        found = []
        for name, part, row in rows_of(self.condition, cond, b):
            if part.num is None or part.sequence:
                raise ValueError(f'EDM2 is told classes alone, and not {name or "the condition"} of {part}')
            for i, classes in enumerate(row.reshape(b, -1).T):
                label = f'{name or "classes"}{f"_{i}" if part.shape else ""}'
                vector = math.sqrt(part.num) * jax.nn.one_hot(classes, part.num)  # 0 for the class after the last
                found.append(MPLayer(features, name=label)(vector))
        return found


class Block(nn.Module):
    """A residual block and, where it `attends`, self-attention; on the way up if it `decodes`.

    On the way down the width changes first and every pixel is normalised; on the way up only what the branch is added
    to changes its width. The embedding multiplies the branch's channels by 1 + gain W emb, the gain being 0 at first.
    """

    channels: int
    dropout: float
    head_channels: int
    res_balance: float
    attn_balance: float
    clip: float | None
    decodes: bool = False
    attends: bool = False
    resample: Callable[[Array], Array] | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b ... c'], emb: Float[Array, 'b e'], deterministic: bool
    ) -> Float[Array, 'b ... d']:
        """`[B, ..., C] -> [B, ..., channels]`; ValueError for attention of less than `head_channels`."""
        window = (3,) * (x.ndim - 2)
        if self.resample is not None:
            x = self.resample(x)
        shortcut = MPLayer(self.channels, name='shortcut') if x.shape[-1] != self.channels else lambda x: x
        if not self.decodes:
            x = normalised(shortcut(x), (-1,))
        y = MPLayer(self.channels, window, name='conv_1')(mp_silu(x))
        gain = self.param('gain', nn.initializers.zeros, ())
        told = MPLayer(self.channels, name='emb')(emb, gain) + 1
        y = mp_silu(y * over(told, y).astype(y.dtype))
        y = nn.Dropout(self.dropout, deterministic=deterministic)(y)
        y = MPLayer(self.channels, window, name='conv_2')(y)
        x = mp_sum(shortcut(x) if self.decodes else x, y, self.res_balance)
        if self.attends:
            x = mp_sum(x, self._attention(x), self.attn_balance)
        return x if self.clip is None else jnp.clip(x, -self.clip, self.clip)

    def _attention(self, x: Array) -> Array:
        """By cosines: queries, keys and values have unit magnitude."""
        heads = self.channels // self.head_channels
        if heads < 1:
            raise ValueError(f'attention of {self.channels} channels has no head of head_channels={self.head_channels}')
        rows = x.reshape(len(x), -1, self.channels)
        q, k, v = (
            normalised(split_heads(MPLayer(self.channels, name=name)(rows), heads), (-1,)) for name in ('q', 'k', 'v')
        )
        return MPLayer(self.channels, name='out')(jax.nn.dot_product_attention(q, k, v).reshape(x.shape))


def _height(x: Array) -> int:
    return x.shape[2] if x.ndim == 5 else x.shape[1]


def _mean(vectors: Sequence[Array]) -> Array:
    """Of independent vectors of unit magnitude, again of unit magnitude."""
    return sum(vectors[1:], start=vectors[0]) / math.sqrt(len(vectors))
