"""The down half of a U-Net, and what it says of the whole of x: ADM's classifier (arXiv 2105.05233, section 4.1)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import AttentionPool, GroupNorm, dense, small_init
from diffusion_jax.nets.unet import UNet
from diffusion_jax.types import Cond


class UNetEncoder(UNet):
    """A U-Net's way down and middle, by its attributes and with its layers' names, then attention to one vector.

    `out_channels` are the numbers that it answers with, logits of classes: almost 0 at the start, so that all classes
    are equally likely.
    """

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'b ... c'],
        c_noise: Float[Array, 'b ...'],
        cond: Cond = None,
        deterministic: bool = True,
    ) -> Float[Array, 'b n']:
        """`x [B, ..., C]`, `c_noise [B]` -> `[B, out_channels]`, float32 (float64 if x is); the rest is as for `UNet`.

        Raises:
            ValueError: as `UNet`.
        """
        h = self._down(x, c_noise, cond, deterministic).h
        h = nn.silu(GroupNorm(self.dtype, self.layout, name='norm_out')(h))
        heads = h.shape[-1] // self.head_channels if self.head_channels else self.heads
        h = AttentionPool(heads, self.dtype, name='pool')(h)
        out = dense(self.out_channels, 'dense_out', self.dtype, init=small_init)(h)
        return out.astype(jnp.promote_types(x.dtype, jnp.float32))
