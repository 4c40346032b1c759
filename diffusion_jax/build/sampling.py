"""The sampler of a config's `sample` section."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from diffusion_jax import guidance, samplers, schedules, times
from diffusion_jax.build.experiment import Experiment
from diffusion_jax.errors import UserError
from diffusion_jax.specs import make
from diffusion_jax.types import Array, Key, Params, Sampler

Draw = Callable[[Params, Key, Array | None], Array]  # (params, keys [B], cond [B] or None) -> samples [B, ...]

_LAST_TIMES = {schedules.TrigFlow: np.pi / 2, schedules.VE: np.inf}  # 1 for all others
_OTHERS = 'choose another grid, or its t_max'

# What a sampler asks for, the model that it is bound from, and what a user calls it.
_BOUND = {
    'denoise': ('model', 'a diffusion model'),
    'denoise_with_variance': ('model_with_variance', 'a diffusion model with a learned variance'),
    'consistency': ('consistency_model', 'a consistency model'),
    'flow_map': ('flow_map', 'a flow map'),
}


class Sampling(NamedTuple):
    """A config's `sample` section, checked."""

    grid: np.ndarray  # [S + 1]
    bind: Callable[..., Sampler]  # (params, cond [B] or None, edit: Denoiser -> Denoiser = none) -> Sampler


def build_draw(experiment: Experiment, spec: Mapping[str, Any]) -> Draw:
    """The pure function that draws samples; `spec` and errors are those of `build_sampling`."""
    grid, bind = build_sampling(experiment, spec)

    def draw(params, keys, cond=None):
        start = samplers.prior(
            samplers.fold_in(keys, 0), experiment.schedule, (*keys.shape, *experiment.shape), grid[0]
        )
        return samplers.sample(bind(params, cond), samplers.fold_in(keys, 1), start, grid)

    return draw


def build_sampling(experiment: Experiment, spec: Mapping[str, Any]) -> Sampling:
    """Grid and sampler of a config's `sample` section (`sampler`, `times`, `clip`).

    Raises:
        UserError: as `make`; for a sampler of another kind of model, or times that a consistency model has not seen.
    """
    grid = make(times, spec['times'], experiment.context, 'config.sample.times')
    if not isinstance(grid, np.ndarray):
        raise UserError(f'config.sample.times.name={spec["times"]["name"]!r} is a distribution, not a grid')
    _check_kind(experiment, spec['sampler'])
    _check_times(experiment, grid)
    clip = guidance.clip if spec['clip'] else lambda denoise: denoise

    def bind(params, cond, edit=lambda denoise: denoise):
        context: dict[str, Any] = {**experiment.context, 'n': len(grid) - 1}
        for name, (model, _) in _BOUND.items():
            if model in experiment.models:
                context[name] = experiment.models[model](params, cond, None)
        for name in context.keys() & {'denoise', 'consistency'}:
            context[name] = edit(clip(context[name]))
        if 'denoise_with_variance' in context:
            context['denoise_with_variance'] = guidance.on_x_0(
                lambda denoise: edit(clip(denoise)), context['denoise_with_variance']
            )
        return make(samplers, spec['sampler'], context, 'config.sample.sampler')

    bind({}, None)  # so that a wrong spec fails before anything is restored or compiled
    return Sampling(grid, bind)


def _asks_for(name):
    return inspect.signature(getattr(samplers, name)).parameters.keys() & _BOUND.keys()


def _check_kind(experiment, spec):
    name = spec.get('name')
    has = {asked for asked, (model, _) in _BOUND.items() if model in experiment.models}
    if name in samplers.__all__ and not _asks_for(name) <= has:
        wanted = ' and '.join(_BOUND[asked][1] for asked in sorted(_asks_for(name) - has))
        fit = ', '.join(other for other in samplers.__all__ if _asks_for(other) <= has)
        trained = ' and '.join(_BOUND[asked][1] for asked in sorted(has))
        raise UserError(f'config.sample.sampler: {name} needs {wanted}, and this run trained {trained}: use {fit}')


def _check_times(experiment, grid):
    schedule, t = experiment.schedule, jnp.asarray(grid[0], jnp.float32)
    last = _LAST_TIMES.get(type(schedule), 1.0)
    if grid[0] > last * (1 + 1e-6):
        raise UserError(
            f"config.sample.times: t = {grid[0]:.4g} lies beyond {last:.4g}, the end of this run's "
            f'{type(schedule).__name__}: {_OTHERS}'
        )
    if schedule.alpha(t) >= schedule.sigma(t):
        raise UserError(
            f'config.sample.times: t = {grid[0]:.4g} of {type(schedule).__name__} is not noisy enough to start from: '
            f'{_OTHERS}'
        )
    if 'consistency_model' not in experiment.models:
        return
    least, most = (experiment.context.get(name) for name in ('sigma_min', 'sigma_max'))
    for t in grid[:-1]:
        if (most is not None and t > most * (1 + 1e-6)) or (least is not None and t < least):
            raise UserError(
                f'config.sample.times: t = {t:.4g} lies outside [sigma_min, sigma_max] = [{least:g}, {most:g}], '
                'the times of the consistency model'
            )
