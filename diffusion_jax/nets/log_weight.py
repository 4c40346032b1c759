"""The adaptive weight of a loss: a function of the noise level alone, learned beside the network."""

from flax import linen as nn
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import sinusoid
from diffusion_jax.nets.magnitude import MPFourier, MPLayer


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


class MPLogWeight(nn.Module):
    """The same as EDM2 has it: -u of equation 21, with drawn waves and weights of unit length (arXiv 2312.02696).

    Source: equation 21 as its released code counts (NVlabs/edm2, training/networks_edm2.py). It is not 0 at first, and
    no larger than sqrt(2 dim).

    Attributes:
        dim: number of waves.
    """

    dim: int = 128

    @nn.compact
    def __call__(self, c_noise: Float[Array, ' b']) -> Float[Array, ' b']:
        """`c_noise [B]`, a quarter of the log of a noise level -> `[B]`."""
        u = MPLayer(1, name='out')(MPFourier(self.dim, name='fourier')(c_noise))
        return -u[:, 0]
