"""CLIP's transformer of texts (arXiv 2103.00020), whose last states Stable Diffusion attends to."""

from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Int

from diffusion_jax.nets.blocks import dense, split_heads

ACTIVATIONS = {
    'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),
    'gelu': lambda x: nn.gelu(x, approximate=False),
}


class CLIPText(nn.Module):
    """Tokens and their places through blocks x + attention(norm(x)), x + MLP(norm(x)), and a norm.

    A place sees those before it and itself, whether or not they hold padding.

    Attributes:
        vocabulary: numbers of tokens.
        length: of a text, in tokens.
        width: of the features.
        layers: blocks.
        heads: of the attention, which divide the width.
        mlp: width inside the MLPs.
        activation: of the MLPs, 'quick_gelu' in OpenAI's CLIP, 'gelu' in OpenCLIP's of Stable Diffusion 2.
        dtype: compute type; None follows the parameters.
    """

    vocabulary: int = 49_408
    length: int = 77
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    activation: str = 'quick_gelu'
    dtype: Any = None

    @nn.compact
    def __call__(self, tokens: Int[Array, 'b l']) -> Float[Array, 'b l f']:
        """Tokens `[B, L]`, L at most `length`, to the states after the last norm `[B, L, width]`.

        Raises:
            ValueError: for an unknown activation, heads that do not divide the width, or a longer text.
        """
        if self.activation not in ACTIVATIONS:
            raise ValueError(f'activation={self.activation!r} must be {" or ".join(ACTIVATIONS)}')
        if tokens.shape[1] > self.length:
            raise ValueError(f'a text has at most {self.length} tokens; got {tokens.shape[1]}')
        positions = self.param('positions', nn.initializers.normal(0.01), (self.length, self.width))
        x = nn.Embed(self.vocabulary, self.width, dtype=self.dtype, name='tokens')(tokens)
        x = x + positions[None, : tokens.shape[1]].astype(x.dtype)
        for i in range(self.layers):
            y = self._norm(f'norm_1_{i}')(x)
            q, k, v = (split_heads(dense(self.width, f'{n}_{i}', self.dtype)(y), self.heads) for n in 'qkv')
            y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
            x = x + dense(self.width, f'out_{i}', self.dtype)(y)
            y = dense(self.mlp, f'mlp_1_{i}', self.dtype)(self._norm(f'norm_2_{i}')(x))
            x = x + dense(self.width, f'mlp_2_{i}', self.dtype)(ACTIVATIONS[self.activation](y))
        return self._norm('norm')(x)

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, use_fast_variance=False, name=name)
