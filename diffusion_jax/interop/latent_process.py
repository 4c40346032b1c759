"""What a Stable Diffusion was trained for, from its scheduler_config.json: the noise, and what it predicts."""

from collections.abc import Mapping
from typing import Any

from diffusion_jax.errors import UserError
from diffusion_jax.interop import process
from diffusion_jax.interop.process import Process

GUIDANCE = 7.5  # that of the release's pipeline: x_0 = nothing + 7.5 (text - nothing)
TOLD = 8.0  # the weight that a latent consistency model is told by default
CONSISTENT = 'LCMScheduler'
_PREDICTS = {'epsilon': 'eps', 'v_prediction': 'v'}
_BETAS = {'linear': 'linear_betas', 'scaled_linear': 'scaled_linear_betas'}
# (fields, what is the same here): anything else is refused by name.
_ONLY: dict[str, tuple[Any, ...]] = {
    'trained_betas': (None,),
    'beta_schedule': tuple(_BETAS),
    'prediction_type': tuple(_PREDICTS),
    'thresholding': (False,),
    'rescale_betas_zero_snr': (False,),
    'timestep_scaling': (10.0,),
}
_USUAL: dict[str, Any] = {
    'num_train_timesteps': 1000,
    'beta_start': 1e-4,
    'beta_end': 0.02,
    'beta_schedule': 'linear',
    'trained_betas': None,
    'prediction_type': 'epsilon',
    'thresholding': False,
    'rescale_betas_zero_snr': False,
    'clip_sample': False,
    'steps_offset': 0,
    'set_alpha_to_one': True,
    'timestep_spacing': 'leading',
    'timestep_scaling': 10.0,
}


def of_scheduler(where: str, config: Mapping[str, Any]) -> Process:
    """The process of a scheduler_config.json of any solver on a table of betas, sampled by DDIM in 50 steps.

    The grid of a DDIMScheduler with these settings: `steps_offset` and, unless `set_alpha_to_one`, an end at the first
    noise level of the table instead of at clean data. That of an LCMScheduler is of a consistency function, in 4 steps.

    Raises:
        UserError: for an option that is not known here, by its name.
    """
    c = {**_USUAL, **config}
    for field, known in _ONLY.items():
        if c[field] not in known:
            raise UserError(f'{where}: {field} can be {" or ".join(map(repr, known))} here; got {c[field]!r}')
    T = c['num_train_timesteps']
    betas = {'name': _BETAS[c['beta_schedule']], 'T': T, 'beta_1': float(c['beta_start']), 'beta_T': c['beta_end']}
    made = process.of_table(betas, _PREDICTS[c['prediction_type']], clip=bool(c['clip_sample']), ddim_steps=50)
    if c.get('_class_name') == CONSISTENT:
        return _of_lcm(made)
    told = {} if T == 1000 else {'T': T}
    if c['timestep_spacing'] == 'trailing':
        return made._replace(times={'name': 'trailing', 'n': 50, **told})
    told |= {'offset': c['steps_offset']} if c['steps_offset'] else {}
    told |= {} if c['set_alpha_to_one'] else {'last': 1}
    return made._replace(times={'name': 'leading', 'n': 50, **told})


def _of_lcm(of: Process) -> Process:
    """A consistency function of 50 points of the table; trained further it is without its teacher."""
    grid = {'name': 'leading', 'n': 50, 'offset': 19, 'last': 1}
    objective = {
        'name': 'consistency',
        'pairs': {'name': 'neighbours', 'grid': grid},
        'distance': {'name': 'l2'},
        'pair_weight': {'name': 'uniform'},
    }
    return of._replace(
        precond={'name': 'boundary', 'of': of.precond},
        objective=objective,
        sampler={'name': 'renoise'},
        times={'name': 'trailing', 'n': 4, 'among': 50},
    )
