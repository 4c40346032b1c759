"""Restoration of x from y = A x: what A sees of every x_0 prediction is replaced by what is known."""

from collections.abc import Callable

from jaxtyping import Array, Float

from diffusion_jax import samplers
from diffusion_jax.axes import as_times
from diffusion_jax.editing.operators import Operator
from diffusion_jax.schedules import q_sample
from diffusion_jax.types import Denoiser, Key, Sampler, Schedule


def consistent(operator: Operator, y: Float[Array, 'b ...']) -> Callable[[Array], Array]:
    """The map x -> A+ y + (I - A+ A) x, the nearest x that gives y (DDNM, arXiv 2212.00490)."""
    known = operator.pinv(y)
    # In this order x - A+ A x is exactly 0 at known values, which so come out bit for bit.
    return lambda x: known + (x - operator.pinv(operator.A(x)))


def project(denoise: Denoiser, operator: Operator, y: Float[Array, 'b ...']) -> Denoiser:
    """The denoiser, or consistency function, with predictions that give y: for any sampler that is made from one.

    With `samplers.ancestral` and `ddim` it is DDNM (arXiv 2212.00490), and for a mask then the replacement of known
    values (arXiv 2011.13456); with `samplers.renoise` it is consistency models' editing (arXiv 2303.01469, algorithm 4;
    there clipping comes before the projection, as it should).

    What is drawn is not exactly p(x | y), as the noise that x_t holds elsewhere was not drawn given y; `time_travel`
    brings it nearer.
    """
    onto = consistent(operator, y)
    return lambda x, t: onto(denoise(x, t))


def restore(
    sampler: Sampler, schedule: Schedule, operator: Operator, key: Key, y: Float[Array, 'b ...'], times
) -> Float[Array, 'b ...']:
    """Runs the sampler of a projected denoiser from x_T ~ N(alpha_T A+ y, sigma_T^2 I), as that algorithm starts.

    Args:
        sampler: made from `project(denoise, operator, y)`.
        schedule: its schedule.
        operator: what is known;
        key: one key `[]`, or one per sample `[B]`.
        y: and its values.
        times: grid `[S + 1]`, or `travels` of one for a sampler with `time_travel`.

    Returns:
        Samples `[B, ...]` with A x = y: for `inpaint` bit for bit, otherwise to rounding.
    """
    x = operator.pinv(y)
    t = as_times(times[0], x)
    x_T = q_sample(schedule, x, t, samplers.noise(samplers.fold_in(key, 0), x))
    return consistent(operator, y)(samplers.sample(sampler, samplers.fold_in(key, 1), x_T, times))
