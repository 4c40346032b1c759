"""A residual MLP for points."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import dense, small_init
from diffusion_jax.nets.condition import Embedding
from diffusion_jax.types import Cond


class MLP(nn.Module):
    """Point-to-point network: residual blocks to which the embedded noise level is added.

    Smooth in x and in c_noise (SiLU, sinusoids of frequency at most 1), so that derivatives in time are well behaved.

    Attributes:
        out_dim: dimension of the result.
        width: features of every hidden layer; even, at least 4.
        depth: residual blocks of two dense layers each.
        condition: a pytree of `Part`, none of them an image; None for an unconditional network.
    """

    out_dim: int = 2
    width: int = 128
    depth: int = 3
    condition: Any = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b d'],
        c_noise: Float[Array, 'b ...'],
        cond: Cond = None,
        deterministic: bool = True,
    ) -> Float[Array, 'b e']:
        """`x [B, D]`, `c_noise [B]` or `[B, 2]`, `cond` or None -> `[B, out_dim]`, float32 (float64 if x is).

        There is no dropout: `deterministic` is there because every network takes it.

        Raises:
            ValueError: an odd width, a condition that is not the network's, or a `c_noise` of another shape.
        """
        del deterministic
        emb = Embedding(self.width, self.width, self.condition, name='embedding')(c_noise, cond).vector
        h = dense(self.width, 'dense_in', None)(x)
        for i in range(self.depth):
            r = dense(self.width, f'block_{i}_dense_1', None)(nn.silu(h + emb))
            h = h + dense(self.width, f'block_{i}_dense_2', None, init=small_init)(nn.silu(r))
        out = dense(self.out_dim, 'dense_out', None, init=small_init)(nn.silu(h))
        return out.astype(jnp.promote_types(x.dtype, jnp.float32))
