"""UniPC: a multistep predictor, and a corrector that costs no evaluation (arXiv 2302.04867)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import as_times, expand_time
from diffusion_jax.ranges import one_of, whole
from diffusion_jax.samplers.exponential import DATA, Points, bh1, bh2, exponential_step, half_log_snr, no_points, push
from diffusion_jax.types import Denoiser, Sampler, Schedule

_B = {'bh1': bh1, 'bh2': bh2}


class Predicted(NamedTuple):
    """State of UniPC: what the last step predicted, and what it takes to do that step again."""

    x: Float[Array, 'b ...']
    x_before: Float[Array, 'b ...']  # corrected
    t_before: Float[Array, '']  # 0 before the first step
    past: Points  # from t_before on, the last first


def unipc(denoise: Denoiser, schedule: Schedule, order: int = 2, variant: str = 'bh2') -> Sampler:
    """UniPC-p in x_0: UniP-p predicts x_s, and when the model has been evaluated there UniC-p corrects it.

    With the corrector the order of convergence is p + 1, which the sampler declares. The model is evaluated at the
    prediction alone, once per step, and the prediction of the last step stays as it is.

    Args:
        denoise: the model.
        schedule: its schedule.
        order: p, the order of the predictor, in [1, 3].
        variant: the function B(h), 'bh1' or 'bh2'. With two points it is what their line is integrated with; with more
            all B(h) give the same.

    Raises:
        ValueError: another order or variant.
    """
    one_of(_B, variant=variant)
    whole('[1, 3]', order=order)
    B = _B[variant]

    def init(x):
        return Predicted(x, x, as_times(0.0, x), no_points(x, order))

    def step(key, state, t, s):
        del key
        lam_t, past = half_log_snr(schedule, t), state.past
        x_0 = denoise(state.x, expand_time(t, state.x))
        # Before the first step this is a step from t to t, which changes nothing.
        before = jnp.where(state.t_before == 0, t, state.t_before)
        after = Points(past.values.at[0].set(x_0.astype(past.values.dtype)), past.lam.at[0].set(lam_t))
        x = exponential_step(DATA, schedule, state.x_before, past.values[0], after, before, t, B)
        points = Points(past.values[: order - 1], past.lam[: order - 1])
        return Predicted(exponential_step(DATA, schedule, x, x_0, points, t, s, B), x, t, push(past, x_0, lam_t))

    return Sampler(init, step, order + 1, least_steps=order)
