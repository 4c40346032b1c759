"""The U-Net of Stable Diffusion (arXiv 2112.10752), with the transformer of its texts inside."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import dense, sinusoid
from diffusion_jax.nets.clip_text import CLIPText
from diffusion_jax.nets.condition import Embedded, rows_of
from diffusion_jax.nets.layout import Layout
from diffusion_jax.nets.remat import computed_again
from diffusion_jax.nets.spatial_transformer import SpatialTransformer
from diffusion_jax.nets.unet import UNet
from diffusion_jax.types import Cond, Masked, Part

GUIDANCE_WAVES = 256  # sinusoids of the weight of a guidance, as in latent consistency models


class GuidedLevel(nn.Module):
    """The noise level and, where it is told, the weight w of a guidance, as one vector.

    A matrix that begins at zero adds sinusoids of 1000 (w - 1) to those of the noise level: a network that was never
    told w is distilled into one that is (arXiv 2310.04378, its code, where w - 1 is called the scale).
    """

    dim: int
    features: int
    layout: Layout

    @nn.compact
    def __call__(self, c_noise: Float[Array, ' b'], w: Masked) -> Float[Array, 'b f']:
        """`c_noise [B]`, w `[B, 1]` -> `[B, features]`."""
        waves = sinusoid(c_noise, self.dim, shift=self.layout.shift, cosines_first=self.layout.cosines_first)
        zeros = nn.initializers.zeros
        guidance = nn.Dense(self.dim, use_bias=False, kernel_init=zeros, name='w')(
            sinusoid(1000 * (jnp.asarray(w.values)[:, 0] - 1), GUIDANCE_WAVES)
        )
        emb = dense(self.features, 'dense_1', None)(waves + jnp.where(w.mask[:, None], guidance, 0))
        return dense(self.features, 'dense_2', None)(nn.silu(emb))


class TextUNet(UNet):
    """A U-Net in which spatial transformers attend to the states of a transformer of texts.

    Of a `UNet` it has the sizes, heads, layout, dropout, remat and dtype. The condition is a dict of `text`, at most as
    many tokens as the transformer takes, and of `w`, the weight of a guidance, which may be missing. The transformer of
    texts is frozen: no gradient goes into it.

    Attributes:
        text: the transformer of texts.
        depth: blocks of a spatial transformer.
    """

    FROZEN = ('text',)  # no attribute of a module: what an optimiser keeps nothing of

    text: Any = CLIPText()
    depth: int = 1

    def _attend(self, x: Array, tokens: Masked | None, name: str) -> Array:
        assert tokens is not None  # of `_told`
        heads = x.shape[-1] // self.head_channels if self.head_channels else self.heads
        block = computed_again(SpatialTransformer, self.remat)
        return block(heads, self.depth, self.dtype, self.layout, name=name)(x, tokens)

    def _told(self, c_noise: Array, cond: Cond, spatial: tuple[int, ...]) -> Embedded:
        rows = {name: (part, row) for name, part, row in rows_of(self.condition, cond, len(c_noise))}
        if {*rows} != {'text', 'w'} or not rows['text'][0].sequence or rows['w'][0] != Part((1,)):
            raise ValueError(f'a TextUNet is told text, a sequence of tokens, and w, a number; got {self.condition}')
        tokens, w = rows['text'][1], rows['w'][1]
        emb = GuidedLevel(self.channels, 4 * self.channels, self.layout, name='embedding')(c_noise, w)
        states = jax.lax.stop_gradient(self.text(tokens.values))
        return Embedded(emb, Masked(states, tokens.mask), None)
