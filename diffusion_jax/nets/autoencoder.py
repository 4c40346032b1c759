"""The autoencoder of latent diffusion (arXiv 2112.10752): images to a grid of latents, each a Gaussian, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import Attention, Conv3, GroupNorm, ResBlock, upsample
from diffusion_jax.nets.layout import DDPM, Layout


class Posterior(NamedTuple):
    """A Gaussian of independent latents."""

    mean: Float[Array, 'b h w c']
    std: Float[Array, 'b h w c']


class _Half(nn.Module):
    """What both halves are made of; the numbers are those of a `UNet`."""

    channels: int
    multipliers: Sequence[int]
    blocks: int
    out_channels: int
    attends: bool
    layout: Layout
    dtype: Any = None

    def _res(self, h: Array, width: int, name: str) -> Array:
        return ResBlock(width, dtype=self.dtype, layout=self.layout, name=name)(h, None, True)

    def _conv(self, h: Array, width: int, name: str, strides: Sequence[int] | None = None) -> Array:
        return Conv3('zero', self.dtype, self.layout)(h, width, name, strides)

    def _middle(self, h: Array) -> Array:
        h = self._res(h, h.shape[-1], 'middle_block_0')
        if self.attends:
            h = Attention(1, self.dtype, layout=self.layout, name='middle_attention')(h)
        return self._res(h, h.shape[-1], 'middle_block_1')

    def _answer(self, h: Array) -> Array:
        h = nn.silu(GroupNorm(self.dtype, self.layout, name='norm_out')(h))
        return self._conv(h, self.out_channels, 'conv_out')


class Encoder(_Half):
    """Images to features, of half the height and width at every level but the first."""

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j d']:
        """`[B, H, W, C] -> [B, H / f, W / f, out_channels]`, f = 2^(levels - 1)."""
        h = self._conv(x, self.channels, 'conv_in')
        for level, multiplier in enumerate(self.multipliers):
            for i in range(self.blocks):
                h = self._res(h, self.channels * multiplier, f'down_{level}_block_{i}')
            if level < len(self.multipliers) - 1:
                h = self._conv(h, h.shape[-1], f'down_{level}_resample', (2, 2))
        return self._answer(self._middle(h))


class Decoder(_Half):
    """The other way round, with one block more at every level."""

    @nn.compact
    def __call__(self, z: Float[Array, 'b i j d']) -> Float[Array, 'b h w c']:
        """`[B, H, W, D] -> [B, f H, f W, out_channels]`, f = 2^(levels - 1)."""
        h = self._middle(self._conv(z, self.channels * self.multipliers[-1], 'conv_in'))
        for level, multiplier in reversed([*enumerate(self.multipliers)]):
            for i in range(self.blocks + 1):
                h = self._res(h, self.channels * multiplier, f'up_{level}_block_{i}')
            if level > 0:
                h = self._conv(upsample(h, (2, 2)), h.shape[-1], f'up_{level}_resample')
        return self._answer(h)


class Autoencoder(nn.Module):
    """A variational autoencoder of images, and how its latents are scaled for a diffusion model.

    Attributes:
        channels: width of the first level.
        multipliers: width of each level in units of `channels`.
        blocks: residual blocks per level of the encoder; the decoder has one more.
        latents: channels of the latents.
        out_channels: of an image.
        scaling: of the latents, which makes their variance about one: z = scaling (latent - shift).
        shift: of the latents.
        attends: whether the middle of both halves has attention.
        mixes: whether a dense layer follows the encoder, and another precedes the decoder.
        layout: eps and groups of the norms.
        dtype: compute type; None follows the input.
    """

    channels: int = 128
    multipliers: Sequence[int] = (1, 2, 4, 4)
    blocks: int = 2
    latents: int = 4
    out_channels: int = 3
    scaling: float = 0.18215
    shift: float = 0.0
    attends: bool = True
    mixes: bool = True
    layout: Layout = DDPM
    dtype: Any = None

    def setup(self):
        """Names the layers."""
        sizes = self.channels, self.multipliers, self.blocks
        self.encoder = Encoder(*sizes, 2 * self.latents, self.attends, self.layout, self.dtype)
        self.decoder = Decoder(*sizes, self.out_channels, self.attends, self.layout, self.dtype)
        if self.mixes:
            self.mix_moments = nn.Dense(2 * self.latents, dtype=self.dtype)
            self.mix_latents = nn.Dense(self.latents, dtype=self.dtype)

    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
        """Images in [-1, 1] as they come back from the means of their latents."""
        return self.decode(self.encode(x).mean)

    def encode(self, x: Float[Array, 'b h w c']) -> Posterior:
        """Images `[B, H, W, C]` in [-1, 1] -> scaled latents `[B, H / f, W / f, latents]`, f = 2^(levels - 1).

        Raises:
            ValueError: for a height or width that f does not divide.
        """
        factor = 2 ** (len(self.multipliers) - 1)
        if x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(f'the sides of an image must be multiples of {factor}; got {x.shape[1]}x{x.shape[2]}')
        moments = self.encoder(x)
        moments = self.mix_moments(moments) if self.mixes else moments
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        std = jnp.exp(jnp.clip(log_variance, -30, 20) / 2)
        return Posterior(self.scaling * (mean - self.shift), self.scaling * std)

    def decode(self, z: Float[Array, 'b h w c']) -> Float[Array, 'b i j d']:
        """Scaled latents -> images, in [-1, 1] but for errors."""
        z = z / self.scaling + self.shift
        return self.decoder(self.mix_latents(z) if self.mixes else z)


def functional(spec: Mapping[str, Any]) -> tuple[Callable, Callable, Callable]:
    """An `Autoencoder` of these attributes as pure functions.

    Returns:
        `init(key, x) -> params`, `encode(params, x) -> Posterior`, `decode(params, z) -> x`.
    """
    module = Autoencoder(**spec)

    def init(key: Array, x: Float[Array, 'b h w c']) -> Any:
        return module.init(key, x)['params']

    def encode(params: Any, x: Float[Array, 'b h w c']) -> Posterior:
        return module.apply({'params': params}, x, method='encode')  # pyright: ignore

    def decode(params: Any, z: Float[Array, 'b h w c']) -> Float[Array, 'b i j d']:
        return module.apply({'params': params}, z, method='decode')  # pyright: ignore

    return init, encode, decode
