"""What a Stable Diffusion was trained for, as its scheduler_config.json: the noise, and what it predicts."""

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


_OURS = {ours: theirs for theirs, ours in _PREDICTS.items()}
_BETAS_OURS = {ours: theirs for theirs, ours in _BETAS.items()}
# What ours leave out.
_ENDS = {'linear_betas': (1e-4, 0.02), 'scaled_linear_betas': (0.00085, 0.012)}


def scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler_config.json of a config's process: a DDIMScheduler, or an LCMScheduler of a consistency function.

    A grid that is neither `leading` nor `trailing` is left to diffusers, as the release of Stable Diffusion has it.

    Raises:
        UserError: for a process that diffusers has no such scheduler for.
    """
    schedule, predicts, sample = config['schedule'], config['precond'], config['sample']
    betas, consistent = schedule.get('betas', {}), predicts['name'] == 'boundary'
    of = predicts['of'] if consistent else predicts
    if betas.get('name') not in _BETAS_OURS or of['name'] not in _OURS:
        raise UserError(
            f'a pipeline of Stable Diffusion has {" or ".join(_BETAS_OURS)} and predicts {" or ".join(_OURS)}; this '
            f'run has {betas.get("name", schedule["name"])} and {of["name"]}'
        )
    T, (beta_1, beta_T) = betas.get('T', 1000), _ENDS[betas['name']]
    others = {k: v for k, v in predicts.items() if k not in ('name', 'of')} if consistent else {}
    if of.get('scale', 1000.0) != T or (consistent and T != 1000) or {**_BOUNDARY, **others} != _BOUNDARY:
        raise UserError(
            f'config.precond={dict(predicts)}: of a pipeline the network is told k - 1 of T={T}, and a consistency '
            f'function is of T=1000, with {_BOUNDARY["sigma_data"]} and {_BOUNDARY["scaling"]}'
        )
    common = {
        **{k: v for k, v in _USUAL.items() if k != 'timestep_scaling'},
        'num_train_timesteps': T,
        'beta_start': betas.get('beta_1', beta_1),
        'beta_end': betas.get('beta_T', beta_T),
        'beta_schedule': _BETAS_OURS[betas['name']],
        'prediction_type': _OURS[of['name']],
        'clip_sample': sample['clip'],
    }
    if not consistent:
        return {'_class_name': 'DDIMScheduler', **common, **_spacing(sample['times'])}
    points = {'original_inference_steps': sample['times'].get('among') or 50, 'timestep_scaling': 10.0}
    return {'_class_name': CONSISTENT, **common, **points, **_spacing({'name': 'its own'})}


_BOUNDARY = {'T': 1000, 'sigma_data': 0.5, 'scaling': 10.0}


def _spacing(times: Mapping[str, Any]) -> dict[str, Any]:
    """The grid of a DDIMScheduler; pipelines set an offset of `trailing`, which has none, to 1."""
    if times['name'] == 'trailing':
        return {'timestep_spacing': 'trailing', 'steps_offset': 1, 'set_alpha_to_one': True}
    offset, last = (times.get('offset', 0), times.get('last', 0)) if times['name'] == 'leading' else (1, 1)
    if last not in (0, 1):
        raise UserError(f'config.sample.times.last={last}: a DDIMScheduler ends at 0 or 1')
    return {'timestep_spacing': 'leading', 'steps_offset': offset, 'set_alpha_to_one': last == 0}
