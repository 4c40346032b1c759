"""Config to objects: the only file of the package that reads a config.

A spec `{'name': 'karras', 'n': 18}` becomes `karras(n=18)` of the module that its place in the config names. Arguments
that the run itself determines (the schedule, the model, the number of steps T of its table, the levels of the data) are
passed by name to every factory that has a parameter of that name, unless the spec sets it.
"""

import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from diffusion_jax import ema as emas
from diffusion_jax import guidance, likelihood, nets, objectives, precond, reverse, samplers, schedules, times
from diffusion_jax.data import pipeline, sources
from diffusion_jax.ema import Ema
from diffusion_jax.errors import UserError, nearest, one_line
from diffusion_jax.evaluation import features
from diffusion_jax.specs import check_type, make
from diffusion_jax.types import Array, Key, LossFn, Model, ModelWithVariance, Params, Sampler, Schedule

_EMBEDDED = SimpleNamespace(__all__=['digits', 'mixture'], digits=sources.digits, mixture=sources.mixture)
_FEATURES = SimpleNamespace(__all__=['pca', 'pixels'], pca=features.pca, pixels=features.pixels)
_NETS = SimpleNamespace(__all__=['MLP', 'UNet'], MLP=nets.MLP, UNet=nets.UNet)
_OPTIMISERS = SimpleNamespace(
    __all__=['adam', 'adamw', 'lion', 'radam', 'sgd'],
    **{name: getattr(optax, name) for name in ('adam', 'adamw', 'lion', 'radam', 'sgd')},
)
_VARIANCES = {'small': reverse.small, 'large': reverse.large}

_SECTIONS = tuple('seed data schedule precond net objective optim ema train mesh sample eval'.split())
_FIELDS = {  # of the sections that are no specs
    'train': ('batch_size', 'steps', 'log_every', 'save_every', 'sample_every', 'keep'),
    'mesh': ('data',),
    'sample': ('sampler', 'times', 'clip', 'num', 'batch_size'),
    'eval': ('num', 'batch_size', 'features', 'reference', 'held_out', 'variance', 'bits_num', 'bits_terms'),
}

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


def resolve(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as plain nested dicts with every reference resolved, checked by `check`."""
    return check(config.to_dict())


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config itself, if its sections, and the fields of those that are no specs, are as they must be.

    Raises:
        UserError: for a missing or unknown one, or a number that cannot be.
    """
    _check_names(config, _SECTIONS, 'config')
    for section, fields in _FIELDS.items():
        _check_names(config[section], fields, f'config.{section}')
    least = {'train': {'batch_size': 1, 'steps': 0, 'keep': 1}, 'sample': {'num': 1, 'batch_size': 1}}
    least |= {'eval': {'num': 2, 'batch_size': 1, 'bits_num': 0}}
    for section, fields in least.items():
        for field, minimum in fields.items():
            _check_number(config[section][field], minimum, f'config.{section}.{field}')
    for field in ('log_every', 'save_every', 'sample_every'):
        _check_number(config['train'][field], 0, f'config.train.{field}')
    _check_number(config['seed'], 0, 'config.seed')
    return dict(config)


def _check_names(given, wanted, where):
    if not isinstance(given, Mapping):
        raise UserError(f'{where} must have the fields {", ".join(wanted)}')
    for name in given:
        if name not in wanted:
            raise UserError(f'{where}.{name} is not a field; {nearest(name, wanted)}')
    missing = [name for name in wanted if name not in given]
    if missing:
        raise UserError(f'{where} has no {", ".join(missing)}')


def _check_number(value, minimum, where):
    check_type(value, int, where)
    if value < minimum:
        raise UserError(f'{where}={value} must be at least {minimum}')


def build_source(spec: Mapping[str, Any], split: str | None = None) -> sources.Source:
    """The data set of a config's `data` section; `split` replaces its split.

    Raises:
        UserError: if the data set is not there or not readable.
    """
    spec = {k: v for k, v in spec.items() if k != 'flip' and v is not None}
    if split is not None:
        spec['split'] = split
    if spec.get('name') in _EMBEDDED.__all__:
        return make(_EMBEDDED, spec, {}, 'config.data')
    settable = list(inspect.signature(sources.tfds).parameters)
    for key in spec:
        if key not in settable:
            raise UserError(f'config.data.{key} is not an argument of a data set; {nearest(key, settable)}')
    return sources.tfds(**{'name': '', **spec})


def build(config: Mapping[str, Any]) -> Experiment:
    """Everything that a run needs, from its resolved config.

    Raises:
        UserError: for anything in the config that cannot be built, naming the field.
    """
    source = build_source(config['data'])
    shape = tuple(source.x[np.zeros(1, np.int64)].shape[1:])
    schedule = make(schedules, config['schedule'], {}, 'config.schedule')
    if not isinstance(schedule, Schedule):
        raise UserError(f'config.schedule.name={config["schedule"]["name"]!r} is a table of betas, not a schedule')
    T = getattr(schedule, 'T', None)  # only a table has a number of steps
    context: dict[str, Any] = {'schedule': schedule} if T is None else {'schedule': schedule, 'T': T}
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
        raise UserError(
            f'config.net.num_classes={num_classes}, but {source.name} has {source.num_classes or "no"} classes'
        )
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
    module = make(_NETS, spec, {'out_channels': out, 'out_dim': out}, 'config.net')
    init, net = nets.functional(module)
    x, c_noise = jnp.zeros((1, *shape)), jnp.zeros(1)

    def init_params(key):
        return init(key, x, c_noise, jnp.zeros(1, jnp.int32) if spec.get('num_classes') else None)

    try:
        jax.eval_shape(init_params, jax.random.key(0))
    except (TypeError, ValueError) as error:
        raise UserError(f'config.net: {one_line(error)}') from error
    return init_params, net


def _build_optimiser(spec):
    spec = dict(spec)
    if 'lr' not in spec:
        raise UserError('config.optim has no lr')
    lr, warmup, clip = spec.pop('lr'), spec.pop('warmup', 0), spec.pop('clip', None)
    check_type(lr, float, 'config.optim.lr')
    check_type(warmup, int, 'config.optim.warmup')
    check_type(clip, float | None, 'config.optim.clip')
    # Of one structure with and without warm-up and clipping, so that a run can change them and go on.
    rate = optax.linear_schedule(0.0, lr, warmup) if warmup else optax.constant_schedule(lr)
    tx = make(_OPTIMISERS, spec, {'learning_rate': rate}, 'config.optim')
    return optax.chain(optax.clip_by_global_norm(clip) if clip else optax.identity(), tx)


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
    if not isinstance(grid, np.ndarray):
        raise UserError(f'config.sample.times.name={spec["times"]["name"]!r} is a distribution, not a grid')
    clip = guidance.clip if spec['clip'] else lambda denoise: denoise

    def bind(params, cond):
        context: dict[str, Any] = dict(experiment.context)
        context['denoise'] = clip(experiment.model(params, cond, None))
        if experiment.model_with_variance is not None:
            raw = experiment.model_with_variance(params, cond, None)
            context['denoise_with_variance'] = guidance.on_x_0(clip, raw)
        if spec['sampler'].get('name') == 'ancestral_learned' and experiment.model_with_variance is None:
            raise UserError('config.sample.sampler: ancestral_learned needs a model trained with a learned variance')
        return make(samplers, spec['sampler'], context, 'config.sample.sampler')

    def draw(params, keys, cond=None):
        sampler: Sampler = bind(params, cond)
        start = samplers.prior(
            samplers.fold_in(keys, 0), experiment.schedule, (*keys.shape, *experiment.shape), grid[0]
        )
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


def build_bound(
    experiment: Experiment, source: sources.Source, variance: str, terms: int | None
) -> Callable[[Params, Key, Array, Array | None], likelihood.BoundTerms]:
    """The bound on a data set, `(params, key, x [B, ...], cond [B] or None) -> BoundTerms`.

    Raises:
        UserError: for a schedule that is no table, data without levels, an unknown variance, too many terms.
    """
    levels, T = source.levels, experiment.context.get('T')
    if levels is None:
        raise UserError(f'bits/dim needs quantised data, and {source.name} is continuous: set --bits_num=0')
    if T is None:
        raise UserError('bits/dim of the bound needs a table of steps (DiscreteVP): set --bits_num=0')

    def bound(params, key, x, cond):
        p = build_reverse(experiment, params, cond, variance)
        return likelihood.vlb(p, experiment.schedule, T, levels, terms)(key, x)

    try:
        likelihood.vlb(build_reverse(experiment, {}, None, variance), experiment.schedule, T, levels, terms)
    except ValueError as error:
        raise UserError(f'config.eval.bits_terms: {one_line(error)}') from error
    return bound


def build_features(spec: Mapping[str, Any], reference: np.ndarray) -> features.Features:
    """The feature space of a config's `eval.features`, for a reference set `[N, ...]` in [-1, 1].

    Raises:
        UserError: as `make`.
    """
    context = {'reference': reference, 'shape': reference.shape[1:]}
    return make(_FEATURES, spec, context, 'config.eval.features')
