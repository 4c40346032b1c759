"""A transformer over the tokens of a text, learned with the network that attends to them."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from diffusion_jax.nets.blocks import dense, small_init, split_heads
from diffusion_jax.types import Masked


class TextEncoder(nn.Module):
    """Blocks x + attention(norm(x)), x + MLP(norm(x)) and a norm: every place sees all places that are there.

    Almost the identity but for the norm at first. What a place holds that is not there is never seen, and stays 0.

    Attributes:
        layers: blocks.
        heads: of the attention, which divide the features.
        dtype: compute type; None follows the input.
    """

    layers: int
    heads: int = 4
    dtype: Any = None

    @nn.compact
    def __call__(self, tokens: Masked) -> Masked:
        """Tokens `[B, L, F]` -> `[B, L, F]`, with the same mask; ValueError if the heads do not divide F."""
        x, mask = tokens
        f = x.shape[-1]
        for i in range(self.layers):
            y = dense(3 * f, f'qkv_{i}', self.dtype)(self._norm(f'norm_1_{i}')(x))
            q, k, v = (split_heads(part, self.heads) for part in jnp.split(y, 3, axis=-1))
            y = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :]).reshape(x.shape)
            x = x + dense(f, f'out_{i}', self.dtype, small_init)(y)
            y = dense(4 * f, f'mlp_1_{i}', self.dtype)(self._norm(f'norm_2_{i}')(x))
            x = x + dense(f, f'mlp_2_{i}', self.dtype, small_init)(nn.gelu(y))
        return Masked(jnp.where(mask[..., None], self._norm('norm')(x), 0), mask)

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, use_fast_variance=False, name=name)
