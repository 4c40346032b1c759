"""Edits of the latent x_T that DDIM's encoder finds for an image (arXiv 2010.02502, section 4.3)."""

import jax
from jaxtyping import Array, Float

from diffusion_jax import samplers
from diffusion_jax.editing.interpolate import slerp
from diffusion_jax.types import Denoiser, Schedule


def transfer(
    source: Denoiser, target: Denoiser, schedule: Schedule, x: Float[Array, 'b ...'], times
) -> Float[Array, 'b ...']:
    """Encodes with one denoiser and decodes with another: of another class, or another model with the same noise.

    That map is dual diffusion implicit bridges' (arXiv 2203.08382); with source = target it is a reconstruction.

    Args:
        source: fits x.
        target: of what x shall become.
        schedule: of both.
        x: images.
        times: grid `[S + 1]`, decreasing; the encoder goes up along it.
    """
    return _decode(target, schedule, _encode(source, schedule, x, times), times)


def interpolate(
    denoise: Denoiser,
    schedule: Schedule,
    x: Float[Array, 'b ...'],
    y: Float[Array, 'b ...'],
    w: Float[Array, ' b'],
    times,
) -> Float[Array, 'b ...']:
    """From x at w = 0 to y at w = 1: both encoded, `slerp`ed and decoded (arXiv 2010.02502).

    The ends are reconstructions, with the error of the grid. Consistency models have no encoder; `slerp` of two noises
    and one evaluation interpolate between two of their samples.
    """
    x_T, y_T = (_encode(denoise, schedule, v, times) for v in (x, y))
    return _decode(denoise, schedule, slerp(x_T, y_T, w), times)


_UNUSED = 0  # neither direction draws noise


def _encode(denoise, schedule, x, times):
    return samplers.sample(samplers.ddim_encode(denoise, schedule), jax.random.key(_UNUSED), x, times[::-1])


def _decode(denoise, schedule, x_T, times):
    return samplers.sample(samplers.ddim(denoise, schedule), jax.random.key(_UNUSED), x_T, times)
