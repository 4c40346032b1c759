"""A transformer over pixels that attends to a text, as latent diffusion has it (arXiv 2112.10752, its code)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from diffusion_jax.nets.blocks import GroupNorm, dense, small_init, split_heads
from diffusion_jax.nets.layout import DDPM, Layout
from diffusion_jax.types import Masked


class QueryAttention(nn.Module):
    """Attention of `x` to `to`, whose queries, keys and values have no bias."""

    heads: int
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'b n c'], to: Float[Array, 'b m f'], mask: Bool[Array, 'b m'] | None = None
    ) -> Float[Array, 'b n c']:
        """`x [B, N, C]`, `to [B, M, F]` -> `[B, N, C]`; ValueError if the heads do not divide C."""
        c = x.shape[-1]
        q, k, v = (
            split_heads(nn.Dense(c, use_bias=False, dtype=self.dtype, name=name)(of), self.heads)
            for name, of in (('q', x), ('k', to), ('v', to))
        )
        y = jax.nn.dot_product_attention(q, k, v, mask=None if mask is None else mask[:, None, None, :])
        return dense(c, 'out', self.dtype)(y.reshape(x.shape))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), x + attention(norm(x), text), x + GEGLU(norm(x)) (of GEGLU, arXiv 2002.05202)."""

    heads: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b n c'], tokens: Masked) -> Float[Array, 'b n c']:
        """`x [B, N, C]`, tokens `[B, L, F]` -> `[B, N, C]`."""
        c = x.shape[-1]
        y = self._norm('norm_1')(x)
        x = x + QueryAttention(self.heads, self.dtype, name='self')(y, y)
        y = self._norm('norm_2')(x)
        text, mask = jnp.asarray(tokens.values, y.dtype), jnp.asarray(tokens.mask)
        x = x + QueryAttention(self.heads, self.dtype, name='cross')(y, text, mask)
        y, gate = jnp.split(dense(8 * c, 'mlp_1', self.dtype)(self._norm('norm_3')(x)), 2, axis=-1)
        return x + dense(c, 'mlp_2', self.dtype)(y * nn.gelu(gate, approximate=False))

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, use_fast_variance=False, name=name)


class SpatialTransformer(nn.Module):
    """Residual: a norm, a dense layer, `layers` blocks over all pixels and the tokens of a text, a dense layer."""

    heads: int
    layers: int = 1
    dtype: Any = None
    layout: Layout = DDPM

    @nn.compact
    def __call__(self, x: Float[Array, 'b ... c'], tokens: Masked) -> Float[Array, 'b ... c']:
        """`x [B, ..., C]`, tokens `[B, L, F]` -> `[B, ..., C]`; ValueError if the heads do not divide the channels."""
        b, c = x.shape[0], x.shape[-1]
        # Its norm has eps 1e-6, whatever that of the residual blocks.
        y = GroupNorm(self.dtype, self.layout._replace(eps=1e-6), name='norm')(x).reshape(b, -1, c)
        y = dense(c, 'proj_in', self.dtype)(y)
        for i in range(self.layers):
            y = TransformerBlock(self.heads, self.dtype, name=f'block_{i}')(y, tokens)
        return x + dense(c, 'proj_out', self.dtype, init=small_init)(y).reshape(x.shape)
