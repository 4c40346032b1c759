"""Layers and sums that keep the magnitude of what goes through them, its root mean square: EDM2's.

Source: arXiv 2312.02696; the numbers of its equations are those of its released code (NVlabs/edm2,
training/networks_edm2.py).
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

# The name of weights of which only the direction means something: see `optim.forced_norm`.
DIRECTION = 'mp_direction'
_EPS = 1e-4


def normalised(x: Float[Array, '*shape'], axes: Sequence[int], eps: float = _EPS) -> Float[Array, '*shape']:
    """Divides x by eps + m, m its root mean square over these axes, in float32 at least; the slope at 0 is 1 / eps."""
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jnp.mean(jnp.square(y), axis=tuple(axes), keepdims=True)
    # The root has no gradient at 0; a maximum has none below it.
    m = jnp.sqrt(jnp.maximum(square, jnp.finfo(y.dtype).tiny))
    return (y / (eps + m)).astype(x.dtype)


def unit_directions(w: Float[Array, '*window a b']) -> Float[Array, '*window a b']:
    """Weights `[*window, in, out]`, those of every output normalised (equation 66)."""
    return normalised(w, range(w.ndim - 1))


def mp_silu(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
    """SiLU over 0.596, its magnitude for unit normal numbers (equation 81)."""
    return nn.silu(x) / 0.596


def mp_sum(a: Float[Array, '*shape'], b: Float[Array, '*shape'], t: float) -> Float[Array, '*shape']:
    """((1 - t) a + t b) / sqrt((1 - t)^2 + t^2), t in [0, 1] (equation 88)."""
    return ((1 - t) * a + t * b) / math.hypot(1 - t, t)


def mp_cat(a: Float[Array, '*b c'], b: Float[Array, '*b d'], t: float) -> Float[Array, '*b e']:
    """Channels of a and b, weighed so that their shares of the sum of squares are (1 - t)^2 and t^2 (equation 103)."""
    n_a, n_b = a.shape[-1], b.shape[-1]
    C = math.sqrt(n_a + n_b) / math.hypot(1 - t, t)
    return jnp.concatenate([C * (1 - t) / math.sqrt(n_a) * a, C * t / math.sqrt(n_b) * b], axis=-1)


class MPFourier(nn.Module):
    """sqrt(2) cos(f c + phase) of frequencies f and phases that are drawn once and stay (equation 75).

    Both are parameters without a gradient: f is 2 pi times a unit normal number, the phase uniform on [0, 2 pi).
    """

    features: int

    @nn.compact
    def __call__(self, c_noise: Float[Array, ' b']) -> Float[Array, 'b f']:
        """`[B] -> [B, features]`, in float32 at least."""
        f = self.param('frequencies', nn.initializers.normal(2 * math.pi), (self.features,))
        phase = self.param('phases', nn.initializers.uniform(2 * math.pi), (self.features,))
        dtype = jnp.promote_types(c_noise.dtype, jnp.float32)
        f, phase = (jax.lax.stop_gradient(p).astype(dtype)[None, :] for p in (f, phase))
        return math.sqrt(2) * jnp.cos(c_noise.astype(dtype)[:, None] * f + phase)


class MPLayer(nn.Module):
    """A dense layer over the last axis, or a convolution over a window, whose weight vectors have the length `gain`.

    Only the direction of its weights counts (equation 47), and there is no bias. They start with the magnitude 1.

    Attributes:
        features: of the result.
        window: of the convolution, along every spatial axis, odd and padded by zeros; () for a dense layer.
    """

    features: int
    window: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: Float[Array, 'b ... c'], gain: Float[Array, ''] | float = 1.0) -> Float[Array, 'b ... d']:
        """`[B, ..., C] -> [B, ..., features]`, in x's type."""
        shape = (*self.window, x.shape[-1], self.features)
        w = self.param(DIRECTION, _unit_normal, shape)
        w = unit_directions(w) * (gain / math.sqrt(math.prod(shape[:-1])))
        w = w.astype(x.dtype)
        if not self.window:
            return x @ w
        n = len(self.window)
        last = (0, n + 1, *range(1, n + 1))  # where batch, channels and space are
        numbers = jax.lax.ConvDimensionNumbers(last, (n + 1, n, *range(n)), last)
        return jax.lax.conv_general_dilated(x, w, (1,) * n, 'SAME', dimension_numbers=numbers)


def _unit_normal(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    return unit_directions(jax.random.normal(key, shape, dtype))
