"""A small network that says where in its bin a quantised value lies."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class Dequantiser(nn.Module):
    """x in [-1, 1] -> mean and log scale of logit(u), for `likelihood.variational`; at the start 0, which is uniform.

    Three convolutions of width 3 over the axes between the batch and the channels, dense layers where there are none.
    """

    width: int = 32

    @nn.compact
    def __call__(self, x: Float[Array, 'b ...']) -> tuple[Float[Array, 'b ...'], Float[Array, 'b ...']]:
        """`x [B, ..., C]` -> two arrays like it."""
        kernel = (3,) * (x.ndim - 2)
        h = x
        for i in range(2):
            h = nn.silu(nn.Conv(self.width, kernel, name=f'conv_{i}')(h))
        out = nn.Conv(2 * x.shape[-1], kernel, kernel_init=nn.initializers.zeros, name='out')(h)
        mean, log_scale = jnp.split(out, 2, -1)
        return mean, log_scale
