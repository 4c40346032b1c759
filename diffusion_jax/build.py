"""Config to objects: the only file of the package that reads a config.

A spec `{'name': 'karras', 'n': 18}` becomes `karras(n=18)` of the module that its place in the config names. Arguments
that the run itself determines (the schedule, the model, the number of steps T of its table, the levels of the data) are
passed by name to every factory that has a parameter of that name, unless the spec sets it.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from diffusion_jax import ema as emas
from diffusion_jax import guidance, nets, objectives, precond, reverse, samplers, schedules, times, weights
from diffusion_jax.data import mixture, pipeline, sources
from diffusion_jax.ema import Ema
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import features
from diffusion_jax.types import Array, Key, LossFn, Model, ModelWithVariance, Params, Sampler, Schedule

# Where the name in a spec that is an argument of another spec is looked up.
_NESTED = {'betas': schedules, 'p_t': times, 'weight': weights, 'components': mixture, 'schedule': schedules}
_VARIANCES = {'small': reverse.small, 'large': reverse.large}

_SECTIONS = 'seed data schedule precond net objective optim ema train mesh sample eval'.split()

Draw = Callable[[Params, Key, Array | None], Array]  # (params, keys [B], cond [B] or None) -> samples [B, ...]


class Experiment(NamedTuple):
    """A run's pure functions and its data; everything that later code needs and no config."""

    source: sources.Source
    shape: tuple[int, ...]  # of one sample
    num_classes: int  # of a conditional model; 0 for an unconditional one
    schedule: Schedule
    init: Callable[[Key], Params]
    model: Model
    model_with_variance: ModelWithVariance | None
    loss: LossFn  # on RawBatch
    tx: optax.GradientTransformation
    ema: Ema
    context: dict[str, Any]  # what specs may leave unsaid


def make(module: ModuleType | type, spec: Mapping[str, Any], context: Mapping[str, Any], where: str) -> Any:
    """Calls the factory that a spec names with the spec's arguments and those of the context that it has.

    Raises:
        UserError: for an unknown name or argument (with the nearest known ones), or arguments that the factory refuses.
    """
    arguments = dict(spec)
    name = arguments.pop('name', None)
    known = list(getattr(module, '__all__', None) or [k for k in vars(module) if not k.startswith('_')])
    if name not in known:
        raise UserError(f'{where}.name={name!r} is unknown; {_nearest(str(name), known)}')
    factory = getattr(module, name)
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in arguments:
        if key not in parameters and not open_ended:
            settable = [p for p in parameters if p not in context]
            raise UserError(f'{where}.{key} is not an argument of {name}; {_nearest(key, settable)}')
    for key, value in arguments.items():
        if isinstance(value, Mapping):
            arguments[key] = make(_NESTED[key], value, context, f'{where}.{key}')
    implied = {k: v for k, v in context.items() if k in parameters and k not in arguments}
    try:
        return factory(**implied, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f'{where}: {name}: {error}') from error


def _nearest(name, known):
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f'did you mean {" or ".join(near)}?' if near else f'known: {", ".join(sorted(known))}'


def parse_spec(text: str) -> dict[str, Any]:
    """A command line's `name` or `name:key=value,key=value` as a spec.

    Raises:
        UserError: if it has another form.
    """
    name, _, rest = text.partition(':')
    spec: dict[str, Any] = {'name': name}
    for item in filter(None, rest.split(',')):
        key, equals, value = item.partition('=')
        if not equals:
            raise UserError(f'cannot read {text!r}: the form is name:key=value,key=value')
        spec[key] = _literal(value)
    return spec


def _literal(text):
    constants = {'True': True, 'False': False, 'None': None}
    for convert in (constants.__getitem__, int, float):
        try:
            return convert(text)
        except (KeyError, ValueError):
            continue
    return text


def resolve(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as plain nested dicts with every reference resolved.

    Raises:
        UserError: for a missing or unknown section.
    """
    plain = config.to_dict()
    for section in _SECTIONS:
        if section not in plain:
            raise UserError(f'the config has no section {section!r}; it needs {", ".join(_SECTIONS)}')
    for section in plain:
        if section not in _SECTIONS:
            raise UserError(f'config.{section} is not a section; {_nearest(section, _SECTIONS)}')
    return plain


def build_source(spec: Mapping[str, Any], split: str | None = None) -> sources.Source:
    """The data set of a config's `data` section; `split` replaces its split.

    Raises:
        UserError: if the data set is not there or not readable.
    """
    spec = {k: v for k, v in spec.items() if k != 'flip' and v is not None}
    if split is not None:
        spec['split'] = split
    embedded = ('digits', 'mixture')
    if spec.get('name') in embedded:
        return make(sources, spec, {}, 'config.data')
    try:
        return sources.tfds(**spec)
    except TypeError as error:
        raise UserError(f'config.data: {error}') from error


def build(config: Mapping[str, Any]) -> Experiment:
    """Everything that a run needs, from its resolved config.

    Raises:
        UserError: for anything in the config that cannot be built, naming the field.
    """
    source = build_source(config['data'])
    shape = tuple(source.x[np.zeros(1, np.int64)].shape[1:])
    schedule = make(schedules, config['schedule'], {}, 'config.schedule')
    # Only a table has a number of steps.
    context: dict[str, Any] = {'schedule': schedule, **({'T': schedule.T} if hasattr(schedule, 'T') else {})}
    if source.levels is not None:
        context['levels'] = source.levels

    objective = config['objective']
    factory = getattr(objectives, str(objective.get('name')), None)
    with_variance = factory is not None and 'model_with_variance' in inspect.signature(factory).parameters
    coefficients = make(precond, config['precond'], context, 'config.precond')
    init, net = _build_net(config['net'], shape, with_variance)
    if with_variance:
        model_with_variance = precond.denoiser_with_variance(coefficients, net)
        model = precond.without_variance(model_with_variance)
    else:
        model_with_variance, model = None, precond.denoiser(coefficients, net)
    context |= {'model': model, 'model_with_variance': model_with_variance}

    num_classes = config['net'].get('num_classes', 0)
    if num_classes and source.num_classes != num_classes:
        raise UserError(f'config.net.num_classes={num_classes}, but {source.name} has {source.num_classes} classes')
    prepare = pipeline.prepare(source.levels, config['data'].get('flip', False))
    loss = make(objectives, objective, context, 'config.objective')
    tx = _build_optimiser(config['optim'])
    ema = make(emas, config['ema'], {}, 'config.ema')
    return Experiment(
        source=source,
        shape=shape,
        num_classes=num_classes,
        schedule=schedule,
        init=init,
        model=model,
        model_with_variance=model_with_variance,
        loss=_on_raw_batch(loss, prepare, bool(num_classes)),
        tx=tx,
        ema=ema,
        context=context,
    )


def _build_net(spec, shape, with_variance):
    out = shape[-1] * (2 if with_variance else 1)
    spec = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
    module = make(nets, spec, {'out_channels': out, 'out_dim': out}, 'config.net')
    init, net = nets.functional(module)
    x, c_noise = jnp.zeros((1, *shape)), jnp.zeros(1)

    def init_params(key):
        return init(key, x, c_noise, jnp.zeros(1, jnp.int32) if spec.get('num_classes') else None)

    try:
        jax.eval_shape(init_params, jax.random.key(0))
    except (TypeError, ValueError) as error:
        raise UserError(f'config.net: {error}') from error
    return init_params, net


def _build_optimiser(spec):
    spec = dict(spec)
    lr, warmup, clip = spec.pop('lr'), spec.pop('warmup', 0), spec.pop('clip', None)
    rate = optax.linear_schedule(0.0, lr, warmup) if warmup else lr
    tx = make(optax, spec, {'learning_rate': rate}, 'config.optim')
    return optax.chain(optax.clip_by_global_norm(clip), tx) if clip else tx


def _on_raw_batch(loss, prepare, conditional):
    def raw_loss(params, frozen, key, raw, step):
        key_data, key_loss = jax.random.split(key)
        batch = prepare(key_data, raw)
        return loss(params, frozen, key_loss, batch if conditional else batch._replace(cond=None), step)

    return raw_loss


def build_draw(experiment: Experiment, spec: Mapping[str, Any]) -> Draw:
    """The pure function that draws samples, from a config's `sample` section (`sampler`, `times`, `clip`).

    Raises:
        UserError: as `make`.
    """
    grid = make(times, spec['times'], experiment.context, 'config.sample.times')
    clip = guidance.clip if spec['clip'] else lambda denoise: denoise

    def bind(params, cond):
        context: dict[str, Any] = dict(experiment.context)
        context['denoise'] = clip(experiment.model(params, cond, None))
        if experiment.model_with_variance is not None:
            raw = experiment.model_with_variance(params, cond, None)
            context['denoise_with_variance'] = guidance.on_x_0(clip, raw)
        return make(samplers, spec['sampler'], context, 'config.sample.sampler')

    def draw(params, keys, cond=None):
        sampler: Sampler = bind(params, cond)
        shape = (*keys.shape, *experiment.shape)
        start = samplers.prior(samplers.fold_in(keys, 0), experiment.schedule, shape, grid[0])
        return samplers.sample(sampler, samplers.fold_in(keys, 1), start, grid)

    bind({}, None)  # so that a wrong spec fails before anything is restored or compiled
    return draw


def build_reverse(experiment: Experiment, params: Params, cond: Array | None, variance: str) -> reverse.Reverse:
    """The reverse process whose bound is reported: the learned variance where there is one, else `variance`.

    Raises:
        UserError: for an unknown variance.
    """
    if experiment.model_with_variance is not None:
        raw = experiment.model_with_variance(params, cond, None)
        return reverse.learned(guidance.on_x_0(guidance.clip, raw), experiment.schedule)
    if variance not in _VARIANCES:
        raise UserError(f'config.eval.variance={variance!r} is unknown; known: {", ".join(_VARIANCES)}')
    denoise = guidance.clip(experiment.model(params, cond, None))
    return reverse.fixed(denoise, experiment.schedule, _VARIANCES[variance])


def build_features(spec: Mapping[str, Any], reference: np.ndarray) -> features.Features:
    """The feature space of a config's `eval.features`, for a reference set `[N, ...]` in [-1, 1].

    Raises:
        UserError: as `make`.
    """
    context = {'reference': reference, 'shape': reference.shape[1:]}
    return make(features, spec, context, 'config.eval.features')
