"""The U-Net of DDPM (arXiv 2006.11239) and, by its options, of iDDPM and ADM."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import Attention, GroupNorm, ResBlock, conv, double, halve, small_init
from diffusion_jax.nets.condition import Embedding, beside
from diffusion_jax.types import Cond

# What `UNet.remat` can be: 'full' keeps nothing; the others are policies of `jax.checkpoint_policies`.
REMAT = ('full', 'dots_saveable', 'dots_with_no_batch_dims_saveable')


class UNet(nn.Module):
    """Image-to-image network; the defaults are Ho et al.'s CIFAR-10 model (35,746,307 parameters at 32x32x3).

    Attributes:
        channels: width of the first level.
        multipliers: width of each level in units of `channels`; the resolution halves from one to the next.
        blocks: residual blocks per level on the way down (one more on the way up).
        attention: image heights at which every block is followed by self-attention; the middle always has one.
        dropout: rate inside the residual blocks.
        heads: attention heads; `head_channels`, when given, sets the channels of a head instead.
        out_channels: channels of the result; twice the image's for a learned variance.
        condition: a pytree of `Part`; None for an unconditional network.
        scale_shift: the embedding scales and shifts the second norm of a block instead of being added (iDDPM, ADM).
        resample_in_block: resample inside residual blocks (BigGAN, ADM) instead of by a convolution.
        remat: what the backward pass keeps of a residual or attention block and what it computes again: None keeps all,
            the others, see `REMAT`, the block's input and no more than their name says. The values are the same.
        dtype: compute type, such as 'bfloat16'; None follows the input. Parameters, normalisation statistics, the
            embedding and the result are float32 in any case (float64 for a float64 input).
    """

    channels: int = 128
    multipliers: Sequence[int] = (1, 2, 2, 2)
    blocks: int = 2
    attention: Sequence[int] = (16,)
    dropout: float = 0.1
    heads: int = 1
    head_channels: int | None = None
    out_channels: int = 3
    condition: Any = None
    scale_shift: bool = False
    resample_in_block: bool = False
    remat: str | None = None
    dtype: Any = None

    def _res(self, level: int, name: str) -> ResBlock:
        width = self.channels * self.multipliers[level]
        return self._again(ResBlock)(width, self.dropout, self.scale_shift, dtype=self.dtype, name=name)

    def _again(self, block: Any) -> Any:
        if self.remat is None:
            return block
        return nn.remat(block, policy=_policy(self.remat), static_argnums=(3,) if block is ResBlock else ())

    def _attend(self, x: Array, name: str) -> Array:
        heads = x.shape[-1] // self.head_channels if self.head_channels else self.heads
        return self._again(Attention)(heads, self.dtype, name=name)(x)

    def _resample(self, x: Array, emb: Array, deterministic: bool, by: Callable[[Array], Array], name: str) -> Array:
        if self.resample_in_block:
            block = self._again(ResBlock)
            return block(x.shape[-1], self.dropout, self.scale_shift, by, self.dtype, name=name)(x, emb, deterministic)
        if by is double:
            return conv(x.shape[-1], name, self.dtype)(double(x))
        return conv(x.shape[-1], name, self.dtype, stride=2)(x)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b h w c'],
        c_noise: Float[Array, 'b ...'],
        cond: Cond = None,
        deterministic: bool = True,
    ) -> Float[Array, 'b h w d']:
        """Run the network.

        Args:
            x: images `[B, H, W, C]`; H and W must be divisible by 2 ** (len(multipliers) - 1).
            c_noise: noise level `[B]`, any real values; two of them `[B, 2]` for a flow map.
            cond: rows of the condition's parts; None tells nothing of any.
            deterministic: False turns dropout on and needs a 'dropout' key.

        Returns:
            `[B, H, W, out_channels]`, float32 (float64 when x is).

        Raises:
            ValueError: a size that cannot be halved often enough, heads that do not divide the channels, a condition
                that is not the network's, or a `c_noise` of another shape.
        """
        _check_size(x.shape[1], x.shape[2], halvings=len(self.multipliers) - 1)
        out_dtype = jnp.promote_types(x.dtype, jnp.float32)
        embedding = Embedding(self.channels, 4 * self.channels, self.condition, name='embedding')
        emb, _, image = embedding(c_noise, cond, x.shape[1:-1])
        h = conv(self.channels, 'conv_in', self.dtype)(beside(x, image))
        skips = [h]
        last = len(self.multipliers) - 1
        for level in range(last + 1):
            for block in range(self.blocks):
                h = self._res(level, f'down_{level}_block_{block}')(h, emb, deterministic)
                if h.shape[1] in self.attention:
                    h = self._attend(h, f'down_{level}_attention_{block}')
                skips.append(h)
            if level < last:
                h = self._resample(h, emb, deterministic, halve, f'down_{level}_resample')
                skips.append(h)

        h = self._res(last, 'middle_block_0')(h, emb, deterministic)
        h = self._attend(h, 'middle_attention')
        h = self._res(last, 'middle_block_1')(h, emb, deterministic)

        for level in reversed(range(last + 1)):
            for block in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._res(level, f'up_{level}_block_{block}')(h, emb, deterministic)
                if h.shape[1] in self.attention:
                    h = self._attend(h, f'up_{level}_attention_{block}')
            if level > 0:
                h = self._resample(h, emb, deterministic, double, f'up_{level}_resample')
        h = nn.silu(GroupNorm(self.dtype, name='norm_out')(h))
        return conv(self.out_channels, 'conv_out', self.dtype, init=small_init)(h).astype(out_dtype)


def _policy(name: str) -> Callable[..., bool]:
    if name not in REMAT:
        raise ValueError(f'remat={name!r} is unknown; it is one of {", ".join(REMAT)}')
    return getattr(jax.checkpoint_policies, 'nothing_saveable' if name == 'full' else name)


def _check_size(height: int, width: int, halvings: int) -> None:
    if height % 2**halvings or width % 2**halvings:
        raise ValueError(
            f'an image of {height}x{width} cannot be halved evenly {halvings} times, as a U-Net of {halvings + 1} '
            f'levels does: pad it to multiples of {2**halvings} or use fewer multipliers'
        )
