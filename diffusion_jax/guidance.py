"""Combinators on denoisers."""

from collections.abc import Callable

import jax.numpy as jnp

from diffusion_jax.types import Denoiser, DenoiserWithVariance

__all__ = ['clip']


def clip(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Keeps the predicted x_0 in the range of the data, as DDPM's sampler does."""
    return lambda x, t: jnp.clip(denoise(x, t), low, high)


def on_x_0(combinator: Callable[[Denoiser], Denoiser], denoise: DenoiserWithVariance) -> DenoiserWithVariance:
    """Applies a combinator that evaluates its denoiser once, at the point given, to the x_0 half of (x_0, logits)."""

    def combined(x, t):
        x_0, logits = denoise(x, t)
        return combinator(lambda *_: x_0)(x, t), logits

    return combined
