"""The U-Net of DDPM (arXiv 2006.11239) and, by its options, of iDDPM and ADM, over one, two or three spatial axes."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets import fir
from diffusion_jax.nets.blocks import (
    Attention,
    Conv3,
    CrossAttention,
    GroupNorm,
    ResBlock,
    downsample,
    scaled,
    sinusoid,
    small_init,
    unit_init,
    upsample,
)
from diffusion_jax.nets.condition import Embedded, Embedding, beside
from diffusion_jax.nets.layout import DDPM, Layout
from diffusion_jax.nets.remat import computed_again
from diffusion_jax.types import Cond, Masked


class Down(NamedTuple):
    """What the way down leaves to what comes after it."""

    h: Float[Array, 'b ... c']  # after the middle
    skips: list[Array]  # of every block on the way, the last one last
    emb: Float[Array, 'b e']
    tokens: Masked | None


class UNet(nn.Module):
    """Image-to-image network; the defaults are Ho et al.'s CIFAR-10 model (35,746,307 parameters at 32x32x3).

    The same for signals `[B, L, C]` and videos `[B, T, H, W, C]`. Where there is attention and the condition has
    sequences, attention to their tokens follows.

    Attributes:
        channels: width of the first level.
        multipliers: width of each level in units of `channels`; the resolution falls from one to the next.
        blocks: residual blocks per level on the way down (one more on the way up).
        attention: heights of an image or of a video's frames, or lengths of a signal, at which every block is followed
            by self-attention; the middle always has one.
        dropout: rate inside the residual blocks.
        heads: attention heads; `head_channels`, when given, sets the channels of a head instead.
        out_channels: channels of the result; twice the image's for a learned variance.
        condition: a pytree of `Part`; None for an unconditional network.
        text_layers: self-attention layers through which the tokens of a text go before the network sees them.
        scale_shift: the embedding scales and shifts the second norm of a block instead of being added (iDDPM, ADM).
        resample_in_block: resample inside residual blocks (BigGAN, ADM) instead of by a convolution.
        strides: by what each spatial axis shrinks from a level to the next, None: all by 2; (1, 2, 2) keeps all frames.
        padding: of all convolutions 3 wide: 'zero', or 'circular' for data that are periodic along every axis.
        attention_axes: None for attention over all pixels at once; otherwise groups of spatial axes, which follow one
            another: ((1, 2), (0,)) of a video is attention within frames and then of each pixel across frames.
        remat: what the backward pass keeps of a residual or attention block and what it computes again: None keeps all,
            the others, see `REMAT`, the block's input and no more than their name says. The values are the same.
        layout: what official networks of this architecture differ in beside their sizes; DDPM's by default.
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
    text_layers: int = 0
    scale_shift: bool = False
    resample_in_block: bool = False
    strides: Sequence[int] | None = None
    padding: str = 'zero'
    attention_axes: Sequence[Sequence[int]] | None = None
    remat: str | None = None
    layout: Layout = DDPM
    dtype: Any = None

    def _res(self, width: int, name: str, resample: Callable[[Array], Array] | None = None) -> ResBlock:
        block = computed_again(ResBlock, self.remat, static_argnums=(3,))
        return block(width, self.dropout, self.scale_shift, resample, self.padding, self.dtype, self.layout, name=name)

    def _attend(self, x: Array, tokens: Masked | None, name: str) -> Array:
        heads = x.shape[-1] // self.head_channels if self.head_channels else self.heads
        for axes in self.attention_axes or (None,):
            along = '' if axes is None else f'_along_{"".join(map(str, axes))}'
            x = computed_again(Attention, self.remat)(heads, self.dtype, axes, self.layout, name=name + along)(x)
        if tokens is not None:
            across = computed_again(CrossAttention, self.remat)
            x = across(heads, self.dtype, self.layout, name=f'{name}_to_tokens')(x, tokens)
        return x

    def _resample(self, x: Array, emb: Array, deterministic: bool, by: Callable[..., Array], name: str) -> Array:
        width, strides = x.shape[-1], self._strides_of(x)
        if self.resample_in_block:
            return self._res(width, name, functools.partial(self._filter(by), strides=strides))(x, emb, deterministic)
        conv = Conv3(self.padding, self.dtype, self.layout)
        return conv(by(x, strides), width, name) if by is upsample else conv(x, width, name, strides)

    def _strides_of(self, x: Array) -> Sequence[int]:
        return self.strides or (2,) * (x.ndim - 2)

    def _filter(self, by: Callable[..., Array]) -> Callable[..., Array]:
        """How the layout has it: by means and repetition, or through a filter."""
        return by if not self.layout.fir else fir.upsample if by is upsample else fir.downsample

    def _beside(self, h: Array, aux: Array, level: int) -> tuple[Array, Array]:
        """What the next level sees, and what of x itself it is told beside: `h` and `aux` of this level."""
        strides, name = self._strides_of(h), f'down_{level}_aux'
        conv = functools.partial(nn.Conv, h.shape[-1], dtype=self.dtype, kernel_init=unit_init, name=name)
        match self.layout.encoder:
            case 'skip':
                aux = self._filter(downsample)(aux, strides)
                return h + conv((1,) * len(strides))(aux), aux
            case 'residual':
                smooth, how = fir.blurred(aux, strides), [(0, 0) if s == 2 else (1, 1) for s in strides]
                h = scaled(h + conv((3,) * len(strides), strides, how)(smooth), self.layout)
                return h, h
        return h, aux

    def _answer(self, h: Array, name: str) -> Array:
        h = nn.silu(GroupNorm(self.dtype, self.layout, name=f'{name}norm_out')(h))
        conv = Conv3(self.padding, self.dtype, self.layout)
        return conv(h, self.out_channels, f'{name}conv_out', init=small_init)

    def _block(
        self, h: Array, emb: Array, tokens: Masked | None, width: int, of: str, i: int, deterministic: bool
    ) -> Array:
        h = self._res(width, f'{of}_block_{i}')(h, emb, deterministic)
        height = h.shape[2] if h.ndim == 5 else h.shape[1]
        attends = height in self.attention and not (self.layout.attends_last and of[:2] == 'up' and i < self.blocks)
        return self._attend(h, tokens, f'{of}_attention_{i}') if attends else h

    def _widths(self) -> list[int]:
        return [self.channels * m for m in self.multipliers]

    def _told(self, c_noise: Array, cond: Cond, spatial: tuple[int, ...]) -> Embedded:
        waves = functools.partial(sinusoid, shift=self.layout.shift, cosines_first=self.layout.cosines_first)
        told = {'text_layers': self.text_layers, 'fourier': self.layout.fourier, 'early': self.layout.early}
        dim, features = self.channels * (1 if self.layout.fourier is None else 2), 4 * self.channels
        return Embedding(dim, features, self.condition, waves, **told, name='embedding')(c_noise, cond, spatial)

    def _down(self, x: Array, c_noise: Array, cond: Cond, deterministic: bool) -> Down:
        """The way down and the middle, as layers of the module that calls it."""
        check_size(x.shape[1:-1], self.strides, len(self.multipliers))
        _check_layout(self.layout, self.resample_in_block, self.padding)
        emb, tokens, image = self._told(c_noise, cond, x.shape[1:-1])
        widths, aux = self._widths(), x
        h = Conv3(self.padding, self.dtype, self.layout)(beside(x, image), self.channels, 'conv_in')
        skips = [h]
        for level, width in enumerate(widths):
            for i in range(self.blocks):
                h = self._block(h, emb, tokens, width, f'down_{level}', i, deterministic)
                skips.append(h)
            if level < len(widths) - 1:
                h = self._resample(h, emb, deterministic, downsample, f'down_{level}_resample')
                h, aux = self._beside(h, aux, level)
                skips.append(h)
        h = self._res(widths[-1], 'middle_block_0')(h, emb, deterministic)
        h = self._attend(h, tokens, 'middle_attention')
        h = self._res(widths[-1], 'middle_block_1')(h, emb, deterministic)
        return Down(h, skips, emb, tokens)

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
            x: `[B, L, C]`, `[B, H, W, C]` or `[B, T, H, W, C]`; every axis must be divisible by its stride as often as
                there are levels but one.
            c_noise: noise level `[B]`, any real values; two of them `[B, 2]` for a flow map.
            cond: rows of the condition's parts; None tells nothing of any.
            deterministic: False turns dropout on and needs a 'dropout' key.

        Returns:
            Of x's shape but for `out_channels`, float32 (float64 when x is).

        Raises:
            ValueError: a size that cannot be halved often enough, strides or attention along axes that x does not
                have, heads that do not divide the channels, a condition that is not the network's, or a `c_noise` of
                another shape.
        """
        h, skips, emb, tokens = self._down(x, c_noise, cond, deterministic)
        out, larger = None, functools.partial(self._filter(upsample), strides=self._strides_of(x))
        for level, width in reversed([*enumerate(self._widths())]):
            for i in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(h, emb, tokens, width, f'up_{level}', i, deterministic)
            if level == 0 or self.layout.decoder == 'skip':
                here = self._answer(h, f'up_{level}_' if level else '')
                out = here if out is None else here + larger(out)
            if level > 0:
                h = self._resample(h, emb, deterministic, upsample, f'up_{level}_resample')
        assert out is not None
        return out.astype(jnp.promote_types(x.dtype, jnp.float32))


def check_size(space: tuple[int, ...], strides: Sequence[int] | None, levels: int) -> None:
    """ValueError unless every spatial axis can be divided by its stride (None: 2) from each level to the next."""
    if not 1 <= len(space) <= 3:
        raise ValueError(f'a U-Net takes x with one to three spatial axes and channels, not {len(space)} spatial axes')
    by = (2,) * len(space) if strides is None else tuple(strides)
    if len(by) != len(space):
        raise ValueError(f'strides={by} must be one for each of the {len(space)} spatial axes of x')
    if any(size % stride ** (levels - 1) for size, stride in zip(space, by, strict=True)):
        kind = ('a signal', 'an image', 'a video')[len(space) - 1]
        divided = 'halved' if strides is None else f'divided by {_times(by)}'
        raise ValueError(
            f'{kind} of {_times(space)} cannot be {divided} evenly {levels - 1} times, as a U-Net of {levels} levels '
            f'does: pad it to multiples of {_times(stride ** (levels - 1) for stride in by)} or use fewer multipliers'
        )


def _check_layout(layout: Layout, in_block: bool, padding: str) -> None:
    if layout.encoder not in ('standard', 'skip', 'residual') or layout.decoder not in ('standard', 'skip'):
        raise ValueError(
            f"layout.encoder={layout.encoder!r} must be 'standard', 'skip' or 'residual', and layout.decoder="
            f"{layout.decoder!r} 'standard' or 'skip'"
        )
    if layout.fir and (not in_block or padding != 'zero'):
        raise ValueError('layout.fir needs resample_in_block=True and padding=zero')
    if layout.encoder == 'residual' and not layout.fir:
        raise ValueError("layout.encoder='residual' needs layout.fir=True")


def _times(numbers: Iterable[int]) -> str:
    return 'x'.join(map(str, numbers))
