"""The diffusion transformer DiT (arXiv 2212.09748) with adaLN-Zero, over one, two or three spatial axes."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from diffusion_jax.nets.blocks import dense, split_heads
from diffusion_jax.nets.condition import Embedding, beside
from diffusion_jax.nets.positions import rotary, rotated, sincos
from diffusion_jax.nets.remat import computed_again
from diffusion_jax.types import Cond, Masked

_small_normal = nn.initializers.normal(0.02)
_zeros = nn.initializers.zeros


class DiT(nn.Module):
    """Transformer on patches. The paper's, all with `positions='sincos'` (hidden, depth, heads):

    S (384, 12, 6), B (768, 12, 12), L (1024, 24, 16), XL (1152, 28, 16).

    The equal blocks are one scan over stacked parameters, so that a deeper network compiles no longer.

    Attributes:
        hidden: channels of a token.
        depth: blocks.
        heads: attention heads, which divide `hidden`.
        patch: pixels along every axis of a patch, or one number for each axis.
        mlp_ratio: width of the blocks' MLPs in units of `hidden`.
        positions: 'sincos' (fixed, added to the tokens), 'rotary' (turns queries and keys, so that attention sees
            differences of positions alone), or None for data whose patches have no order.
        tokens: how a condition's sequences are attended to: 'cross' (by an attention to them in every block) or
            'in_context' (they go through the blocks beside the patches).
        dropout: rate at the end of each residual branch.
        out_channels: channels of the result; twice x's for a learned variance.
        condition: a pytree of `Part`; None for an unconditional network.
        text_layers: self-attention layers through which the tokens of a text go before the network sees them.
        remat: what the backward pass keeps of a block and what it computes again: None keeps all, the others, see
            `REMAT`, the block's input and no more than their name says. The values are the same.
        dtype: compute type, such as 'bfloat16'; None follows the input. Parameters, normalisation statistics, the
            embedding and the result are float32 in any case (float64 for a float64 input).
    """

    hidden: int = 128
    depth: int = 6
    heads: int = 4
    patch: int | Sequence[int] = 2
    mlp_ratio: int = 4
    positions: str | None = 'sincos'
    tokens: str = 'cross'
    dropout: float = 0.0
    out_channels: int = 3
    condition: Any = None
    text_layers: int = 0
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
            x: `[B, L, C]`, `[B, H, W, C]` or `[B, T, H, W, C]`; the patch divides every axis.
            c_noise: noise level `[B]`, any real values; two of them `[B, 2]` for a flow map.
            cond: rows of the condition's parts; None tells nothing of any.
            deterministic: False turns dropout on and needs a 'dropout' key.

        Returns:
            Of x's shape but for `out_channels`, 0 at initialisation, float32 (float64 when x is).

        Raises:
            ValueError: a patch or heads that do not divide, an unknown kind of positions or tokens, a condition that
                is not the network's, or a `c_noise` of another shape.
        """
        space = x.shape[1:-1]
        patch = _fitting(self.patch, space)
        inits = {'waves': waves, 'level_init': _small_normal, 'row_init': _small_normal}
        embedding = Embedding(256, self.hidden, self.condition, text_layers=self.text_layers, name='embedding', **inits)
        emb, tokens, image = embedding(c_noise, cond, space)
        h = dense(self.hidden, 'patches', self.dtype)(patches(beside(x, image), patch))
        grid = tuple(size // p for size, p in zip(space, patch, strict=True))
        h, told = self._placed(h, Told(emb, tokens), grid)
        blocks = nn.scan(
            computed_again(Block, self.remat, prevent_cse=False),
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=nn.broadcast,  # pyright: ignore[reportArgumentType]
            length=self.depth,
        )
        h, _ = blocks(self.heads, self.mlp_ratio, self.dropout, deterministic, self.dtype, name='blocks')(h, told)
        shift, scale = _modulation(emb, 2, self.hidden, self.dtype)
        h = modulated(_norm(self.dtype)(h[:, : math.prod(grid)]), shift, scale)
        out = dense(math.prod(patch) * self.out_channels, 'out', self.dtype, _zeros)(h)
        return whole(out, grid, patch).astype(jnp.promote_types(x.dtype, jnp.float32))

    def _placed(self, h: Array, told: 'Told', grid: tuple[int, ...]) -> tuple[Array, 'Told']:
        """Tokens that know where they are, and those of the condition behind them if they go through the blocks."""
        match self.positions:
            case 'sincos':
                h = h + jnp.asarray(sincos(grid, self.hidden), h.dtype)[None]
            case 'rotary':
                told = told._replace(angles=jnp.asarray(rotary(grid, self.hidden // self.heads), jnp.float32))
            case None:
                pass
            case _:
                raise ValueError(f"positions={self.positions!r} must be 'sincos', 'rotary' or None")
        if self.tokens not in ('cross', 'in_context'):
            raise ValueError(f"tokens={self.tokens!r} must be 'cross' or 'in_context'")
        if told.tokens is None or self.tokens == 'cross':
            return h, told
        values, mask = told.tokens
        there = jnp.concatenate([jnp.ones(h.shape[:2], bool), mask], axis=1)
        if told.angles is not None:  # the condition's tokens have learnt positions, and are not turned
            told = told._replace(angles=jnp.pad(told.angles, ((0, values.shape[1]), (0, 0))))
        return jnp.concatenate([h, values.astype(h.dtype)], axis=1), told._replace(tokens=None, there=there)


class Told(NamedTuple):
    """What every block is told beside its tokens."""

    emb: Float[Array, 'b e']
    tokens: Masked | None = None  # to be attended to, [B, L, E]
    there: Bool[Array, 'b n'] | None = None  # of the tokens themselves, those that may be attended to; None: all
    angles: Float[Array, 'n half'] | None = None  # of rotary positions


class Block(nn.Module):
    """x + gate attention(norm(x)), x + attention to the condition's tokens, x + gate MLP(norm(x)): adaLN-Zero.

    Scales, shifts and gates are one dense layer's of the embedding, 0 at first: the block starts as the identity.
    """

    heads: int
    mlp_ratio: int = 4
    dropout: float = 0.0
    deterministic: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b n c'], told: Told) -> tuple[Float[Array, 'b n c'], None]:
        """`[B, N, C] -> [B, N, C]`, and None: the signature of a scan's step."""
        drop, norm = nn.Dropout(self.dropout, deterministic=self.deterministic), _norm(self.dtype)
        c = x.shape[-1]
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = _modulation(told.emb, 6, c, self.dtype)
        y = x + gate_1 * drop(self._attention(modulated(norm(x), shift_1, scale_1), told))
        if told.tokens is not None:
            y = y + drop(self._to_tokens(norm(y), told.tokens))
        h = dense(self.mlp_ratio * c, 'mlp_1', self.dtype)(modulated(norm(y), shift_2, scale_2))
        y = y + gate_2 * drop(dense(c, 'mlp_2', self.dtype)(nn.gelu(h, approximate=True)))
        return y.astype(x.dtype), None

    def _attention(self, x: Array, told: Told) -> Array:
        q, k, v = (split_heads(y, self.heads) for y in jnp.split(dense(3 * x.shape[-1], 'qkv', self.dtype)(x), 3, -1))
        if told.angles is not None:
            q, k = rotated(q, told.angles), rotated(k, told.angles)
        mask = None if told.there is None else told.there[:, None, None, :]
        return dense(x.shape[-1], 'out', self.dtype)(jax.nn.dot_product_attention(q, k, v, mask=mask).reshape(x.shape))

    def _to_tokens(self, x: Array, tokens: Masked) -> Array:
        """0 where there is no token, and everywhere at first."""
        q = split_heads(dense(x.shape[-1], 'to_tokens_q', self.dtype)(x), self.heads)
        kv = dense(2 * x.shape[-1], 'to_tokens_kv', self.dtype)(tokens.values.astype(x.dtype))
        k, v = (split_heads(y, self.heads) for y in jnp.split(kv, 2, -1))
        y = jax.nn.dot_product_attention(q, k, v, mask=tokens.mask[:, None, None, :]).reshape(x.shape)
        y = dense(x.shape[-1], 'to_tokens_out', self.dtype, _zeros)(y)
        return jnp.where(jnp.any(tokens.mask, axis=1)[:, None, None], y, 0)


def waves(c_noise: Float[Array, ' b'], dim: int) -> Float[Array, 'b {dim}']:
    """Sinusoidal embedding of DiT's official code: [cos(w_i c) ..., sin(w_i c) ...] with w_i = 10000^(-2i / dim).

    Computed in float32 at least, as `blocks.sinusoid`.
    """
    dtype = jnp.promote_types(c_noise.dtype, jnp.float32)
    w = jnp.asarray(10_000.0 ** (-2 * np.arange(dim // 2) / dim), dtype)
    phase = c_noise.astype(dtype)[:, None] * w[None, :]
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


def patches(x: Float[Array, 'b ... c'], patch: tuple[int, ...]) -> Float[Array, 'b n d']:
    """Images cut into patches, in C order, as is what each holds: `[B, N, pixels of a patch * C]`."""
    b, *space, c = x.shape
    n = len(space)
    x = x.reshape(b, *(m for size, p in zip(space, patch, strict=True) for m in (size // p, p)), c)
    x = x.transpose(0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)
    return x.reshape(b, -1, math.prod(patch) * c)


def whole(x: Float[Array, 'b n d'], grid: tuple[int, ...], patch: tuple[int, ...]) -> Float[Array, 'b ... c']:
    """Images of such a grid of patches: the inverse of `patches`."""
    n = len(grid)
    x = x.reshape(len(x), *grid, *patch, -1)
    x = x.transpose(0, *(i for axis in range(1, n + 1) for i in (axis, axis + n)), 2 * n + 1)
    return x.reshape(len(x), *(m * p for m, p in zip(grid, patch, strict=True)), -1)


def modulated(x: Array, shift: Array, scale: Array) -> Array:
    """FiLM."""
    return x * (1 + scale) + shift


def _modulation(emb: Array, parts: int, c: int, dtype: Any) -> list[Array]:
    """So many `[B, 1, C]` of the embedding."""
    return jnp.split(dense(parts * c, 'modulation', dtype, _zeros)(nn.silu(emb))[:, None, :], parts, axis=-1)


def _norm(dtype: Any) -> nn.LayerNorm:
    """Without parameters: adaLN brings scale and shift."""
    return nn.LayerNorm(epsilon=1e-6, dtype=dtype, use_bias=False, use_scale=False, use_fast_variance=False)


def _fitting(patch: int | Sequence[int], space: tuple[int, ...]) -> tuple[int, ...]:
    """One number for each axis, once they are found to divide it."""
    each = (patch,) * len(space) if isinstance(patch, int) else tuple(patch)
    size = 'x'.join(map(str, space))
    if not space or len(each) != len(space):
        raise ValueError(f'patch={patch} must be one number, or one for each of the {len(space)} spatial axes of x')
    if any(p < 1 or n % p for n, p in zip(space, each, strict=True)):
        fit = [m for m in range(1, min(space) + 1) if not any(n % m for n in space)]
        raise ValueError(f'patch={patch} does not divide x of {size}; {", ".join(map(str, fit))} do along every axis')
    return each
