"""A run's pure functions, from its config."""

import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffusion_jax import nets, objectives, precond, schedules
from diffusion_jax.builders.data import build_source
from diffusion_jax.builders.optimiser import build_optimiser
from diffusion_jax.builders.specs import check_type, make
from diffusion_jax.builders.teacher import build_teacher, of_the_schedule
from diffusion_jax.data import pipeline, sources
from diffusion_jax.errors import UserError, nearest, one_line
from diffusion_jax.optim import ema as emas
from diffusion_jax.optim import skip_bad_updates, targets
from diffusion_jax.optim.ema import Ema
from diffusion_jax.optim.targets import Targets
from diffusion_jax.types import Key, LossFn, Params, Schedule

_NETS = SimpleNamespace(__all__=['MLP', 'UNet'], MLP=nets.MLP, UNet=nets.UNet)
_OF_TWO_TIMES = SimpleNamespace(__all__=['average_velocity'], average_velocity=precond.average_velocity)


class Experiment(NamedTuple):
    """A run's pure functions and its data; everything that later code needs and no config."""

    source: sources.Source
    shape: tuple[int, ...]  # of one sample
    num_classes: int  # of a conditional model; 0 for an unconditional one
    drops_labels: bool  # so that its null class means no label
    schedule: Schedule
    init: Callable[[Key], Params]
    network_init: Callable[[Key], Params]  # the same without what the objective learns beside the network
    models: dict[str, Any]  # by the name that objectives have for its kind: model, consistency_model, ...
    loss: LossFn  # on RawBatch
    tx: optax.GradientTransformation
    ema: Ema
    freezing: Targets
    keeps_teacher: bool
    context: dict[str, Any]  # what specs may leave unsaid


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
    num_classes = _num_classes(config, source)
    context = {**_context(config, schedule, source), 'num_classes': num_classes}
    objective = config['objective']
    wanted = inspect.signature(getattr(objectives, str(objective.get('name')), _nothing)).parameters
    network_init, net = _build_net(config['net'], shape, wanted.keys(), config['train']['remat'])
    models = _models(wanted.keys(), config['precond'], context, net)
    context |= models
    init = network_init
    if 'log_weight' in wanted and 'log_weight' not in objective:
        init, context['log_weight'] = _with_log_weight(network_init)

    keeps_teacher = 'teacher' in wanted or bool(objective.get('ode_step'))
    if config['teacher']:
        context['teacher'] = build_teacher(config, context, net, source.levels)
    elif keeps_teacher and config['init_partial'] is not None:
        raise UserError('config.init_partial: this objective distils a teacher, which it needs whole: leave it out')
    elif keeps_teacher:
        raise UserError('config.objective distils a teacher: set --config.init_from=WORKDIR to the folder of its run')

    prepare = pipeline.prepare(source.levels, config['data'].get('flip', False))
    p = _drop_label(config['data'].get('drop_label'), num_classes, wanted)
    if p:
        prepare = pipeline.drop_label(prepare, p, num_classes)
    loss = make(objectives, objective, context, 'config.objective')
    return Experiment(
        source=source,
        shape=shape,
        num_classes=num_classes,
        drops_labels=bool(p) or (bool(num_classes) and _drops_by_itself(objective, wanted)),
        schedule=schedule,
        init=init,
        network_init=network_init,
        models=models,
        loss=on_raw_batch(loss, prepare, bool(num_classes)),
        tx=_build_optimiser(config),
        ema=make(emas, config['ema'], {}, 'config.ema'),
        freezing=make(targets, config['frozen'], context, 'config.frozen'),
        keeps_teacher=keeps_teacher,
        context=context,
    )


def _num_classes(config, source):
    """Of a conditional model, 0 of another."""
    num_classes = config['net'].get('num_classes', 0)
    if num_classes and source.num_classes != num_classes:
        raise UserError(
            f'config.net.num_classes={num_classes}, but {source.name} has {source.num_classes or "no"} classes'
        )
    return num_classes


def _build_optimiser(config):
    tx, train = build_optimiser(config['optim'], config['train']['steps']), config['train']
    return tx if train['max_skips'] is None else skip_bad_updates.skipping(tx, train['spike'] or np.inf)


def _nothing():
    """Stands for an objective that does not exist: `make` tells of it."""


def _drop_label(p, num_classes, wanted):
    """The probability p, if it can be one."""
    check_type(p, float | None, 'config.data.drop_label')
    if p is None:
        return 0.0
    if not 0 <= p < 1:
        raise UserError(f'config.data.drop_label={p} must be a probability, in [0, 1)')
    if not num_classes:
        raise UserError(f'config.data.drop_label={p}, but the model has no classes: set config.net.num_classes')
    if 'drop' in wanted:
        raise UserError(f'config.data.drop_label={p}: this objective drops labels itself: set config.objective.drop')
    return p


def _drops_by_itself(objective, wanted):
    return 'drop' in wanted and bool(objective.get('drop', wanted['drop'].default))


def _context(config, schedule, source):
    context = {**of_the_schedule(schedule), 'steps': config['train']['steps']}
    if source.levels is not None:
        context['levels'] = source.levels
    return context


def _models(wanted, spec, context, net):
    """What the objective learns, under the name that it has for it, and what follows from that."""
    if 'average_velocity' in wanted:
        average = make(_OF_TWO_TIMES, spec, {'net': net}, 'config.precond')
        denoise = precond.instantaneous(average, context['schedule'])
        return {'average_velocity': average, 'flow_map': precond.flow_map(average), 'model': denoise}
    coefficients = make(precond, spec, context, 'config.precond')
    if 'model_with_variance' in wanted:
        with_variance = precond.denoiser_with_variance(coefficients, net)
        return {'model_with_variance': with_variance, 'model': precond.without_variance(with_variance)}
    kind = 'consistency_model' if 'consistency_model' in wanted else 'model'
    return {kind: precond.denoiser(coefficients, net)}


def _with_log_weight(network_init):
    """Initialisation of a network and of the adaptive weight of its loss, and that weight."""
    module = nets.LogWeight()

    def init(key):
        key_net, key_weight = jax.random.split(key)
        return {**network_init(key_net), 'log_weight': module.init(key_weight, jnp.zeros(1))['params']}

    return init, lambda params, c_noise: module.apply({'params': params}, c_noise)


def _build_net(spec, shape, wanted, remat):
    out = shape[-1] * (2 if 'model_with_variance' in wanted else 1)
    spec = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
    # Linen's own two arguments are nobody's to set.
    implied = {'out_channels': out, 'out_dim': out, 'remat': remat, 'parent': None, 'name': None}
    if remat is not None and spec.get('name') == 'MLP':
        raise UserError(f'config.train.remat={remat!r}: an MLP keeps too little to compute it again: leave it out')
    if remat is not None and remat not in nets.REMAT:
        raise UserError(f'config.train.remat={remat!r} is unknown; {nearest(remat, nets.REMAT)}')
    module = make(_NETS, spec, implied, 'config.net')
    init, net = nets.functional(module)
    x, c_noise = jnp.zeros((1, *shape)), jnp.zeros((1, 2) if 'average_velocity' in wanted else 1)

    def init_params(key):
        return init(key, x, c_noise, jnp.zeros(1, jnp.int32) if spec.get('num_classes') else None)

    try:
        jax.eval_shape(init_params, jax.random.key(0))
    except (TypeError, ValueError) as error:
        raise UserError(f'config.net: {one_line(error)}') from error
    return init_params, net


def on_raw_batch(loss: LossFn, prepare: Callable, conditional: bool) -> LossFn:
    """The loss on data as a source has them."""

    def raw_loss(params, frozen, key, raw, step):
        key_data, key_loss = jax.random.split(key)
        batch = prepare(key_data, raw)
        return loss(params, frozen, key_loss, batch if conditional else batch._replace(cond=None), step)

    return raw_loss
