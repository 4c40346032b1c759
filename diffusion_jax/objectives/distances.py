"""Distances d(a, b) per sample, by which a consistency loss compares f(x_t, t) with f(x_s, s)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.interop import lpips as lpips_files
from diffusion_jax.nets import lpips as lpips_net

__all__ = ['l1', 'l2', 'lpips', 'pseudo_huber']

Distance = Callable[[Array, Array], Array]  # (a [B, ...], b [B, ...]) -> d [B]


def l1() -> Distance:
    """Mean absolute difference."""
    return lambda a, b: jnp.mean(jnp.abs(a - b), axis=_event(a))


def l2() -> Distance:
    """Mean squared difference."""
    return lambda a, b: jnp.mean((a - b) ** 2, axis=_event(a))


def pseudo_huber(c: float = 0.00054) -> Distance:
    """ICT's sqrt(||a - b||^2 + c_d^2) - c_d with c_d = c sqrt(d) in d dimensions (arXiv 2310.14189).

    A norm, not a mean: sqrt(d) times the same of the mean square.
    """

    def distance(a: Float[Array, 'b ...'], b: Float[Array, 'b ...']) -> Float[Array, ' b']:
        c_d = c * np.sqrt(np.prod(a.shape[1:])).item()
        square = jnp.sum((a - b) ** 2, axis=_event(a))
        # sqrt(square + c_d^2) - c_d, without the difference of two almost equal numbers
        return square / (jnp.sqrt(square + c_d**2) + c_d)

    return distance


def lpips(vgg: str, lin: str, resize: int | None = 224) -> Distance:
    """LPIPS, the distance of CD and CT, between images [B, H, W, 1 or 3] in [-1, 1] (arXiv 1801.03924).

    CD's and CT's released codes bring images to 224 pixels first: one for CIFAR-10 all, the other one those below 256.
    (The latter, for ImageNet and LSUN, also has average pooling in VGG16 where LPIPS has the maximum; this has not.)

    Args:
        vgg: file of torchvision's VGG16.
        lin: file of LPIPS's weights for it; see `interop.lpips.read` for where to get both.
        resize: side to which images are resized, bilinearly; None leaves them.

    Raises:
        UserError: if a file is not there or not what it should be.
        ValueError: later, for images that LPIPS does not take.
    """
    params = lpips_files.read(vgg, lin)

    def scale(x):
        return x if resize is None else jax.image.resize(x, (len(x), resize, resize, x.shape[-1]), 'bilinear')

    # Behind the barrier XLA takes 59 MB of weights for what they are and does not fold them into others as it compiles.
    return lambda a, b: lpips_net.lpips(jax.lax.optimization_barrier(params), scale(a), scale(b))


def _event(x):
    return tuple(range(1, x.ndim))
