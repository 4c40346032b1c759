"""A run's pure functions, from its config."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from diffusion_jax import objectives, process, schedules
from diffusion_jax.axes import repeat_row
from diffusion_jax.builders.data import build_source
from diffusion_jax.builders.models import Context, build_network, frozen_parts
from diffusion_jax.builders.optimiser import build_optimiser
from diffusion_jax.builders.specs import check_type, make
from diffusion_jax.builders.teacher import Teacher, build_teacher, of_the_schedule
from diffusion_jax.data import pipeline, sources
from diffusion_jax.errors import UserError
from diffusion_jax.optim import ema as emas
from diffusion_jax.optim import skip_bad_updates, targets
from diffusion_jax.optim.ema import Ema
from diffusion_jax.optim.frozen_parts import without
from diffusion_jax.optim.targets import Targets
from diffusion_jax.types import (
    Array,
    Cond,
    Key,
    LossFn,
    Models,
    Objective,
    Params,
    Process,
    Schedule,
    SecondLearner,
)


class Experiment(NamedTuple):
    """A run's pure functions and its data; everything that later code needs and no config."""

    source: sources.Source
    drops_cond: bool  # so that it knows what the condition that tells nothing means
    schedule: Schedule
    init: Callable[[Key], Params]
    start_init: Callable[[Key], Params]  # what the run of `init_from` has learnt, without what its objective did
    models: Models
    loss: LossFn  # on RawBatch
    loss_of: Callable[..., LossFn]  # (spec, **given) -> that of another objective that trains the same models
    tx: optax.GradientTransformation
    second: SecondLearner | None  # on RawBatch too, and with its optimiser
    ema: Ema
    tracks: tuple[Ema, ...]  # further averages, of which the run keeps snapshots
    targets: Targets
    starts_from_teacher: bool  # False where its network is another one
    keeps_teacher: bool
    context: Context  # what specs may leave unsaid

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.source.kind.shape

    @property
    def draws(self) -> bool:
        """Whether it has samples: a classifier draws none."""
        return self.models.classify is None

    @property
    def levels(self) -> int | None:
        """Of the data, where the model is one of their levels: what is drawn then are tokens."""
        return None if self.models.categorical is None else self.source.kind.levels

    def process(self, t_max: float) -> Process:
        """How data become noise, and what a run from t_max starts from."""
        if self.levels is None:
            return process.gaussian(self.schedule, t_max)
        return process.masking(self.schedule, self.levels)

    def values(self, x: Array) -> Array:
        """What samplers draw `[B, ...]`, as the data are: in [-1, 1]."""
        return x if self.levels is None else process.to_values(x, self.levels)

    def taken(self, found: Params | None) -> tuple[Params | None, Params | None]:
        """What a run takes of the parameters of the run of `init_from`: to begin with, and as its teacher's."""
        return found if self.starts_from_teacher else None, found if self.keeps_teacher else None

    def nothing(self, n: int) -> Cond:
        """As many conditions that tell nothing; None of an unconditional model."""
        condition = self.source.condition
        return None if condition is None else repeat_row(condition.null, n)


def build(config: Mapping[str, Any]) -> Experiment:
    """Everything that a run needs, from its resolved config.

    Raises:
        UserError: for anything in the config that cannot be built, naming the field.
    """
    source = build_source(config['data'])
    schedule = make(schedules, config['schedule'], {}, 'config.schedule')
    if not isinstance(schedule, Schedule):
        raise UserError(f'config.schedule.name={config["schedule"]["name"]!r} is a table of betas, not a schedule')
    context = _context(config, schedule, source)
    network = build_network(config, source, context)
    teacher = build_teacher(config, context, network, source) if config['teacher'] else None
    context = context.having(**_as_arguments(network.models), teacher=teacher.model if teacher else _no_teacher)
    objective: Objective = context.make(objectives, config['objective'], 'config.objective')
    _check_teacher(config, objective, teacher)
    prepare, drops = _prepare(config['data'], source, objective, network.models)

    def loss_of(spec, **given):
        other = context.having(**given).make(objectives, spec, 'config.objective')
        return _on_raw_batch(other.loss, prepare)

    return Experiment(
        source=source,
        drops_cond=drops,
        schedule=schedule,
        init=_with_what_the_objective_learns(network.init, objective),
        start_init=teacher.init if teacher else network.init,
        models=network.models,
        loss=_on_raw_batch(objective.loss, prepare),
        loss_of=loss_of,
        tx=_build_optimiser(config, config['optim']),
        second=_build_second(config, objective.second, prepare),
        ema=make(emas, config['ema'], {}, 'config.ema'),
        tracks=_build_tracks(config['train']),
        targets=context.make(targets, config['frozen'], 'config.frozen'),
        starts_from_teacher=teacher is None or teacher.starts_student,
        keeps_teacher=objective.reads_teacher,
        context=context,
    )


def _context(config, schedule, source):
    given, defaults = of_the_schedule(schedule)
    given |= {'levels': source.kind.levels} if source.kind.levels is not None else {}
    given |= {'null': None if source.condition is None else source.condition.null}
    # A curriculum is of the run: none can be longer.
    return Context({**given, 'steps': config['train']['steps']}, defaults)


def _as_arguments(models: Models) -> dict[str, Any]:
    """The models under the names that the factories of objectives have for them."""
    named = {
        'model': models.denoise,
        'model_with_variance': models.with_variance,
        'categorical_model': models.categorical,
        'consistency_model': models.consistency,
        'average_velocity': models.average_velocity,
        'classifier': models.classify,
    }
    return {name: model for name, model in named.items() if model is not None}


def _no_teacher(params, cond, key):
    """Stands for a teacher in objectives that may have none; `_check_teacher` tells of one that is needed."""
    raise ValueError('there is no teacher')


def _check_teacher(config: Mapping[str, Any], objective: Objective, teacher: Teacher | None) -> None:
    if teacher is not None and not teacher.starts_student and not objective.reads_teacher:
        raise UserError('config.init_from: a flow map cannot start from another run: leave it out')
    if not objective.reads_teacher or teacher is not None:
        return
    if config['init_partial'] is not None:
        raise UserError('config.init_partial: this objective distils a teacher, which it needs whole: leave it out')
    raise UserError('config.objective distils a teacher: set --config.init_from=WORKDIR to the folder of its run')


def _with_what_the_objective_learns(network_init, objective):
    if objective.init is None:
        return network_init

    def init(key):
        key_net, key_objective = jax.random.split(key)
        return {**network_init(key_net), **objective.init(key_objective)}

    return init


def _prepare(data, source, objective, models):
    """What makes batches of raw ones, and whether conditions are dropped, here or by the objective."""
    prepare, p = pipeline.prepare(source.kind), data.get('drop_cond')
    check_type(p, float | None, 'config.data.drop_cond')
    if not p:
        return prepare, objective.drops_cond
    if not 0 < p < 1:
        raise UserError(f'config.data.drop_cond={p} must be a probability, in [0, 1)')
    if source.condition is None:
        raise UserError(f'config.data.drop_cond={p}, but the model is unconditional: set config.data.condition')
    if models.classify is not None:
        raise UserError(f'config.data.drop_cond={p}: a classifier learns the conditions: leave it out')
    if objective.drops_cond:
        raise UserError(f'config.data.drop_cond={p}: this objective drops conditions itself: set config.objective.drop')
    return pipeline.drop_cond(prepare, p, source.condition.null), True


def _build_optimiser(config, spec, updates=1, where='config.optim'):
    train, frozen = config['train'], frozen_parts(config['net'], config['objective'])
    tx = without(build_optimiser(spec, updates * train['steps'], where), frozen)
    return tx if train['max_skips'] is None else skip_bad_updates.skipping(tx, train['spike'] or np.inf)


def _build_tracks(train):
    if not train['ema_every']:
        return ()
    specs = [{'name': 'power', 'sigma_rel': sigma_rel} for sigma_rel in train['ema_tracks']]
    return tuple(make(emas, spec, {}, 'config.train.ema_tracks') for spec in specs)


def _build_second(config, second, prepare):
    """The second learner of an objective, if any, with the optimiser that the config has for it."""
    spec = config['second_optim']
    if second is None:
        if spec is not None:
            raise UserError('config.second_optim: this objective has no second learner to optimise: leave it out')
        return None
    if spec is None:
        raise UserError(
            f'config.second_optim: this objective has a second learner, {second.name}, with an optimiser of its own: '
            'set one, --config.second_optim=adam:lr=1e-4'
        )
    tx = _build_optimiser(config, spec, second.updates, 'config.second_optim')
    return second._replace(loss=_on_raw_batch(second.loss, prepare), tx=tx)


def _on_raw_batch(loss: LossFn, prepare: Callable) -> LossFn:
    """The loss on data as a source has them."""

    def raw_loss(params, frozen, key, raw, step):
        key_data, key_loss = jax.random.split(key)
        return loss(params, frozen, key_loss, prepare(key_data, raw), step)

    return raw_loss
