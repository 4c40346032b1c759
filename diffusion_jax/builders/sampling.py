"""The sampler of a config's `sample` section."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax import guidance, samplers, times
from diffusion_jax.axes import expand_time
from diffusion_jax.builders.asked import build_asked
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.guidance import Other, WithOther, check_guidance, guided
from diffusion_jax.builders.specs import find
from diffusion_jax.errors import UserError
from diffusion_jax.samplers.retime import retimed
from diffusion_jax.types import Array, Draw, FindNonFinite, Key, Params, Sampler

_OTHERS = 'choose another grid, or its t_max'

# What a sampler asks for by the name of its parameter, the model that it is, and what a user calls that.
_BOUND = {
    'denoise': ('denoise', 'a diffusion model'),
    'denoise_with_variance': ('with_variance', 'a diffusion model with a learned variance'),
    'consistency': ('consistency', 'a consistency model'),
    'flow_map': ('flow_map', 'a flow map'),
    'categorical': ('categorical', 'a masked diffusion model'),
}
_JUMPS = ('consistency', 'flow_map')
# The x_0 that each of them predicts from (x_t, t).
_PREDICTED = {
    'denoise': lambda denoise: denoise,
    'denoise_with_variance': lambda denoise: lambda x, t: denoise(x, t)[0],
    'consistency': lambda consistency: consistency,
    'flow_map': lambda flow_map: lambda x, t: flow_map(x, t, jnp.zeros_like(t)),
}


class States(NamedTuple):
    """The way of the first n samples of a batch: x_t at every time of the grid, and x_0(x_t, t) at all but the last."""

    x: Array  # [S + 1, n, ...]
    x_0: Array  # [S, n, ...]


def build_draw(experiment: Experiment, spec: Mapping[str, Any], other: Other | None = None) -> Draw:
    """The pure function that draws samples, from a config's `sample` section (`sampler`, `times`, `clip`, `cond`,
    `guidance`, `model_times`).

    With what its guidance takes of another run its parameters are `WithOther`.

    Raises:
        UserError: as `make`; for a sampler of another kind of model, times that a consistency model has not seen, a
            guidance that the model cannot have.
    """
    grid, bind = build_bound(experiment, spec, other)

    def draw(params, keys, index):
        return experiment.values(samplers.sample(*bind(params, keys, index), grid))

    return draw


def build_find_non_finite(experiment: Experiment, spec: Mapping[str, Any], other: Other | None = None) -> FindNonFinite:
    """Where a sample stops being finite: the times of the first step that leads to NaN or infinity, None for none.

    Raises:
        UserError: as `build_draw`.
    """
    grid, bind = build_bound(experiment, spec, other)

    @jax.jit
    def finite(params, keys, index):
        states = samplers.trajectory(*bind(params, keys, index), grid)
        return jnp.isfinite(states).reshape(len(states), -1).all(1)

    def find(params, keys, index):
        bad = np.flatnonzero(~np.asarray(finite(params, keys, index)))
        return (float(grid[bad[0] - 1]), float(grid[bad[0]])) if len(bad) else None

    return find


def build_states(
    experiment: Experiment, spec: Mapping[str, Any], n: int, other: Other | None = None
) -> tuple[np.ndarray, Callable[[Params, Key, Array], States]]:
    """The grid `[S + 1]`, and what a draw's first n samples are on the way: (params, keys [B], index [B]) -> States.

    Its arguments are those of `build_draw`; x_0 is the prediction that the sampler itself asks for, guided and clipped.

    Raises:
        UserError: as `build_draw`; for a sampler that asks no model for x_0.
    """
    grid, bind = build_bound(experiment, spec, other)
    _, bound = _bound_models(experiment, spec, other)
    asked, name = build_asked(experiment, spec.get('cond') or {'name': 'data'}), str(spec['sampler'].get('name'))
    asks = [model for model in _PREDICTED if model in _asks_for(name)]
    if not asks:
        raise UserError(f'config.sample.sampler: {name} asks no model of this run for x_0')

    def states(params, keys, index):
        x = samplers.trajectory(*bind(params, keys, index), grid, keep=lambda x: x[:n])
        predict = _PREDICTED[asks[0]](bound(params, keys[:n], asked(index[:n])).given[asks[0]])
        t = jnp.asarray(grid[:-1], x.dtype)
        return States(x, jax.lax.map(lambda at: predict(at[0], expand_time(at[1], at[0])), (x[:-1], t)))

    return grid, states


def build_bound(
    experiment: Experiment, spec: Mapping[str, Any], other: Other | None = None
) -> tuple[np.ndarray, Callable[[Params, Key, Array], tuple[Sampler, Key, Array]]]:
    """The grid `[S + 1]`, and what a run along it takes: (params, keys [B], index [B]) -> (sampler, keys, start).

    Raises:
        UserError: as `build_draw`.
    """
    grid, make_sampler = build_sampling(experiment, spec, other)
    asked = build_asked(experiment, spec.get('cond') or {'name': 'data'})

    def bind(params, keys, index):
        start = experiment.process(grid[0]).prior(samplers.fold_in(keys, 0), (*keys.shape, *experiment.shape))
        return make_sampler(params, keys, asked(index)), samplers.fold_in(keys, 1), start

    return grid, bind


def build_sampling(
    experiment: Experiment, spec: Mapping[str, Any], other: Other | None = None
) -> tuple[np.ndarray, Callable[..., Sampler]]:
    """The grid `[S + 1]` and (params, keys [B], cond, edit, retime) -> Sampler; errors are those of `build_draw`.

    `edit`, Denoiser -> Denoiser, is the last combinator on a denoiser, a consistency function or a masked diffusion
    model that evaluates it at the point given; none by default. `retime` may ask a denoiser elsewhere; by default it
    does as `model_times` says.
    """
    grid, bound = _bound_models(experiment, spec, other)

    def make_sampler(*arguments, **combinators):
        return bound(*arguments, **combinators).make(samplers, spec['sampler'], 'config.sample.sampler')

    # So that a wrong spec fails before anything is restored or compiled.
    sampler = make_sampler({} if other is None else WithOther({}, {}), jax.random.key(0)[None], experiment.nothing(1))
    if len(grid) - 1 < sampler.least_steps:
        raise UserError(
            f'config.sample.sampler: {spec["sampler"]["name"]} has order {sampler.order} from {sampler.least_steps} '
            f'steps on, and the grid has {len(grid) - 1}'
        )
    return grid, make_sampler


def _bound_models(experiment, spec, other):
    """The grid, and the models that a sampler may ask for: (params, keys, cond, edit, retime) -> Context."""
    context = experiment.context
    grid = context.make(times, spec['times'], 'config.sample.times')
    if not isinstance(grid, np.ndarray):
        raise UserError(f'config.sample.times.name={spec["times"]["name"]!r} is a distribution, not a grid')
    _check_kind(experiment, spec['sampler'])
    _check_times(experiment, grid)
    guide = spec.get('guidance')
    if guide is not None:
        _check_guided(spec['sampler'], guide)
        check_guidance(experiment, guide, other)
    clip = guidance.clip if spec['clip'] else lambda denoise: denoise
    as_told = _retime(experiment, grid, spec.get('model_times'))
    models = experiment.models

    def bound(params, keys, cond, edit=lambda denoise: denoise, retime=as_told):
        # The keys of a Brownian path that a sampler may want as a whole: the run's own, apart from those of its steps.
        given: dict[str, Any] = {'n': len(grid) - 1, 'brownian': samplers.fold_in(keys, 2)}
        given |= {name: model(params, cond, None) for name in _JUMPS if (model := getattr(models, name)) is not None}
        if 'consistency' in given:
            given['consistency'] = edit(clip(given['consistency']))
        if models.categorical is not None:
            full = guided(experiment, guide, other, params, cond)
            given['categorical'] = edit(lambda x, t: full(x, t)[0])
        if models.denoise is not None:
            full = guided(experiment, guide, other, params, cond)
            denoise = retime(guidance.on_x_0(lambda denoise: edit(clip(denoise)), full))
            given['denoise'] = lambda x, t: denoise(x, t)[0]
            if models.with_variance is not None:
                given['denoise_with_variance'] = denoise
        return context.having(**given)

    return grid, bound


def _retime(experiment, grid, model_times):
    """The combinator on the denoiser by which the model is told other times than the grid's."""
    if model_times is None:
        return lambda denoise: denoise
    try:
        told = np.asarray(model_times, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f'config.sample.model_times={model_times!r} must be numbers') from error
    if experiment.models.denoise is None:
        raise UserError('config.sample.model_times: only a diffusion model can be told other times')
    if told.shape != (len(grid) - 1,) or not ((told > 0) & (told < np.inf)).all():
        raise UserError(f'config.sample.model_times: needs {len(grid) - 1} positive times, one for each step')
    at, told = (jnp.asarray(a, jnp.float32) for a in (grid[:-1], told))
    return lambda denoise: retimed(denoise, experiment.schedule, at, told)


def _check_guided(spec, guide):
    name = str(spec.get('name'))
    asks = _asks_for(name)
    if asks and not asks & {'denoise', 'denoise_with_variance', 'categorical'}:
        kinds = ' and '.join(_BOUND[asked][1] for asked in sorted(asks))
        raise UserError(
            f'config.sample.guidance: {guide.get("name")} guides a diffusion model, and {name} samples {kinds}: '
            'leave it out'
        )


def _asks_for(name):
    return inspect.signature(find(samplers, name, 'config.sample.sampler')).parameters.keys() & _BOUND.keys()


def check_draws(experiment: Experiment, where: str) -> None:
    """Whether samples can be drawn at all.

    Raises:
        UserError: if they cannot.
    """
    if not experiment.draws:
        raise UserError(
            f'{where}: this run trained a classifier, which draws nothing: it guides another run, '
            '--guidance=classifier:of=WORKDIR,w=1.0'
        )


def _check_kind(experiment, spec):
    name = str(spec.get('name'))
    check_draws(experiment, 'config.sample')
    has = {asked for asked, (model, _) in _BOUND.items() if getattr(experiment.models, model) is not None}
    if not _asks_for(name) <= has:
        wanted = ' and '.join(_BOUND[asked][1] for asked in sorted(_asks_for(name) - has))
        fit = ', '.join(other for other in samplers.__all__ if _asks_for(other) <= has)
        trained = ' and '.join(_BOUND[asked][1] for asked in sorted(has))
        raise UserError(f'config.sample.sampler: {name} needs {wanted}, and this run trained {trained}: use {fit}')


def _check_times(experiment, grid):
    schedule, t = experiment.schedule, jnp.asarray(grid[0], jnp.float32)
    if grid[0] > schedule.t_max * (1 + 1e-6):
        raise UserError(
            f"config.sample.times: t = {grid[0]:.4g} lies beyond {schedule.t_max:.4g}, the end of this run's "
            f'{type(schedule).__name__}: {_OTHERS}'
        )
    if schedule.alpha(t) >= schedule.sigma(t):
        raise UserError(
            f'config.sample.times: t = {grid[0]:.4g} of {type(schedule).__name__} is not noisy enough to start from: '
            f'{_OTHERS}'
        )
    if experiment.models.consistency is None:
        return
    least, most = (experiment.context.defaults.get(name) for name in ('sigma_min', 'sigma_max'))
    for t in grid[:-1]:
        if (most is not None and t > most * (1 + 1e-6)) or (least is not None and t < least):
            raise UserError(
                f'config.sample.times: t = {t:.4g} lies outside [sigma_min, sigma_max] = [{least:g}, {most:g}], '
                'the times of the consistency model'
            )
