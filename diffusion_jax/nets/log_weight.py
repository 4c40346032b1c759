"""The adaptive weight of a loss: a function of the noise level alone, learned beside the network."""

from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import sinusoid


class LogWeight(nn.Module):
    """Log-weight w(c_noise), 0 at initialisation: sinusoids, then one dense layer (EDM2, arXiv 2312.02696).

    A loss e^w error - w has its minimum at w = -log E[error | c_noise].

    Attributes:
        dim: number of sinusoids, of frequencies from 1 to 1/100; even, at least 4.
    """

    dim: int = 64

    @nn.compact
    def __call__(self, c_noise: Float[Array, ' b']) -> Float[Array, ' b']:
        """`c_noise [B]`, the log of a noise level -> `[B]`; ValueError for an odd `dim`."""
        emb = sinusoid(c_noise, self.dim, max_period=100.0)
        return nn.Dense(1, kernel_init=nn.initializers.zeros, name='dense')(emb)[:, 0]
