"""DINOv2's vision transformer (arXiv 2304.07193) with patches of 14 pixels: ViT-S, -B and -L, without registers."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

PATCH, HEAD = 14, 64
_OFFSET = 0.1  # that the original adds to the number of patches before it divides by the grid's
_EXACT = jax.lax.Precision.HIGHEST


class DINOv2(nn.Module):
    """`[B, H, W, 3]` -> the normalised class token `[B, dim]`; H and W are multiples of 14.

    Images are normalised by ImageNet's mean and standard deviation.
    """

    dim: int  # a multiple of 64
    depth: int
    grid: int = 37  # patches along a side of the images of the last training phase, 518 pixels

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w 3']) -> Float[Array, 'b d']:
        """The class token."""
        b, h, w, _ = x.shape
        p = (PATCH, PATCH)
        x = nn.Conv(self.dim, p, p, 'VALID', precision=_EXACT, name='patch_embed')(x).reshape(b, -1, self.dim)
        cls = self.param('cls_token', nn.initializers.normal(1e-6), (1, 1, self.dim))
        position = self.param('pos_embed', nn.initializers.normal(0.02), (1, 1 + self.grid**2, self.dim))
        x = jnp.concatenate([jnp.broadcast_to(cls, (b, 1, self.dim)), x], axis=1)
        x += interpolated(position, h // PATCH, w // PATCH)
        for i in range(self.depth):
            x = Block(name=f'blocks_{i}')(x)
        return nn.LayerNorm(epsilon=1e-6, name='norm')(x[:, 0])


class Block(nn.Module):
    """x + gamma_1 attention(norm(x)), then x + gamma_2 MLP(norm(x)), with a LayerScale gamma per channel."""

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d']) -> Float[Array, 'b n d']:
        """The tokens, after both residuals."""
        d = x.shape[-1]
        y = nn.LayerNorm(epsilon=1e-6, name='norm1')(x)
        x += self.param('ls1', nn.initializers.constant(1e-5), (1, 1, d)) * _attention(y)
        y = nn.LayerNorm(epsilon=1e-6, name='norm2')(x)
        y = nn.gelu(nn.Dense(4 * d, precision=_EXACT, name='fc1')(y), approximate=False)
        y = nn.Dense(d, precision=_EXACT, name='fc2')(y)
        return x + self.param('ls2', nn.initializers.constant(1e-5), (1, 1, d)) * y


def interpolated(position: Float[Array, '1 n d'], h: int, w: int) -> Float[Array, '1 m d']:
    """The position embeddings, class token first, of a grid of h x w patches: bicubic, as the original does it."""
    grid = round((position.shape[1] - 1) ** 0.5)
    if (h, w) == (grid, grid):
        return position
    rows, columns = (jnp.asarray(_bicubic(grid, n), position.dtype) for n in (h, w))
    patches = position[0, 1:].reshape(grid, grid, -1)
    patches = jnp.einsum('hi,wj,ijd->hwd', rows, columns, patches, precision=_EXACT)
    return jnp.concatenate([position[:, :1], patches.reshape(1, h * w, -1)], axis=1)


def _attention(x: Array) -> Array:
    b, n, d = x.shape
    qkv = nn.Dense(3 * d, precision=_EXACT, name='qkv')(x).reshape(b, n, 3, d // HEAD, HEAD)
    q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    weights = nn.softmax(jnp.einsum('bqhc,bkhc->bhqk', q, k, precision=_EXACT) / np.sqrt(HEAD).item())
    y = jnp.einsum('bhqk,bkhc->bqhc', weights, v, precision=_EXACT).reshape(b, n, d)
    return nn.Dense(d, precision=_EXACT, name='proj')(y)


def _bicubic(n: int, m: int) -> np.ndarray:
    """The matrix [m, n] of PyTorch's bicubic interpolation (Keys's kernel, a = -3/4) by the factor (m + 0.1) / n."""
    a = -0.75
    at = (np.arange(m) + 0.5) * n / (m + _OFFSET) - 0.5
    matrix = np.zeros((m, n))
    for tap in range(-1, 3):
        place = np.floor(at).astype(int) + tap
        x = np.abs(at - place)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        np.add.at(matrix, (np.arange(m), np.clip(place, 0, n - 1)), np.where(x <= 1, near, far))
    return matrix
