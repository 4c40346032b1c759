"""The teacher of a distillation: another run, whose averaged parameters start this one where the networks are alike."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from diffusion_jax import precond, schedules
from diffusion_jax.builders.data import build_source, undecoded
from diffusion_jax.builders.models import BoundNetwork, Context, network_functions, taught_by, trained_by
from diffusion_jax.builders.records import check
from diffusion_jax.builders.specs import make
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import UserError
from diffusion_jax.types import Key, Model, Params, Schedule
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath

_SECTIONS = ('data', 'schedule', 'precond', 'net', 'objective')
_KINDS = {
    'denoise': 'a teacher is a diffusion model (denoising)',
    'consistency': 'the teacher of this objective is a consistency model',
}
_FREE = ('dropout', 'dtype')  # what teacher and student need not share
_TIMES = (0.1, 0.5, 0.9)  # within every schedule's range
_TOLERANCE = 0.05  # a consistency model's coefficients differ from EDM's by sigma_min / t
# What other factories may ask of a schedule: no spec may contradict its table, others may be set.
_GIVEN, _DEFAULTS = ('T',), ('sigma_data', 'sigma_max', 'sigma_min')


class Teacher(NamedTuple):
    """A diffusion model, or a consistency model, that a run learns from or starts from."""

    model: Model  # on the run's schedule
    init: Callable[[Key], Params]  # the shapes of its parameters
    starts_student: bool  # with them: the networks are alike, and mean the same


def with_teacher(config: Mapping[str, Any], workdir: AnyPath) -> dict[str, Any]:
    """The config with what its run needs to know of the run that `init_from` names: its teacher, if taken whole.

    A run in `workdir` that has started from it already keeps what it knows: its teacher's workdir may be gone by now.

    Raises:
        UserError: if `init_from` is no run.
    """
    if config['init_from'] is None or config['init_partial'] is not None:
        return {**config, 'teacher': None}
    saved = files.load_config(workdir) if (workdir / 'config.json').exists() else {}
    if saved.get('init_from') == config['init_from'] and saved.get('teacher'):
        return {**config, 'teacher': saved['teacher']}
    try:
        teacher = check(files.load_config(paths.parse(config['init_from'])))
    except UserError as error:
        raise UserError(f'config.init_from: {error}') from error
    return {**config, 'teacher': {name: teacher[name] for name in _SECTIONS}}


def build_teacher(config: Mapping[str, Any], context: Context, network: BoundNetwork, source: Source) -> Teacher:
    """The teacher on the student's schedule, if its network means the same as the student's.

    A flow map's network is told two times, so that its teacher is any diffusion model, with a network of its own.

    Raises:
        UserError: for another kind of model, architecture, data, condition, schedule or parameterisation.
    """
    teacher, schedule = config['teacher'], context.given['schedule']
    kind = taught_by(config['objective'])
    if trained_by(teacher['objective']) != kind:
        raise UserError(
            f'config.init_from: {_KINDS[kind]}, and that run has the objective {teacher["objective"]["name"]}'
        )
    if network.models.classify is not None:
        raise UserError(
            'config.init_from: a classifier cannot start from a whole run: leave it out, or set config.init_partial'
        )
    alone = network.models.flow_map is not None
    if not alone:
        _check_net(teacher['net'], config['net'])
    _check_data(teacher['data'], config['data'], source)
    theirs = make(schedules, teacher['schedule'], {}, 'teacher.schedule')
    given, defaults = of_the_schedule(theirs)
    their_coefficients = make(precond, teacher['precond'], given, 'teacher.precond', defaults)
    if not same_scales(theirs, schedule):
        if not same_scales(theirs, schedules.VE()):
            raise UserError(
                f'config.init_from: the teacher has the schedule {teacher["schedule"]}, and this run '
                f"{config['schedule']}: they must be the same, or the teacher's VE"
            )
        their_coefficients = precond.rescaled(their_coefficients, schedule)
    if alone:
        init, apply = network_functions(teacher['net'], teacher['objective'], source)
        return Teacher(precond.denoiser(their_coefficients, apply), init, starts_student=False)
    ours = context.make(precond, config['precond'], 'config.precond')
    if not _alike(_values(their_coefficients), _values(ours), _TOLERANCE):
        raise UserError(
            f"config.init_from: the teacher's network means something else: its precond is {teacher['precond']}, and "
            f"this run's is {config['precond']}"
        )
    return Teacher(precond.denoiser(their_coefficients, network.apply), network.init, starts_student=True)


def of_the_schedule(schedule: Schedule) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that a schedule gives to other factories: those that no spec can set, and those that it can."""
    found = tuple({k: getattr(schedule, k) for k in names if hasattr(schedule, k)} for names in (_GIVEN, _DEFAULTS))
    return {'schedule': schedule, **found[0]}, found[1]


def same_scales(a: Schedule, b: Schedule) -> bool:
    """Whether two schedules are the same path, however they are called."""
    return _alike(_scales(a), _scales(b), 1e-4)


def _check_net(theirs, ours):
    keys = [k for k in {**theirs, **ours} if k not in _FREE]
    plain = [json.loads(json.dumps([net.get(k) for k in keys])) for net in (theirs, ours)]  # a file has no tuples
    changed = [f'{k}: {a} -> {b}' for k, a, b in zip(keys, *plain, strict=True) if a != b]
    if changed:
        raise UserError(f"config.init_from: the teacher has another network (its -> this run's): {', '.join(changed)}")


def _check_data(theirs, ours, source):
    if theirs == ours:
        return
    their_source = build_source(undecoded(theirs))
    for what, a, b in (
        ('samples of shape', their_source.kind.shape, source.kind.shape),
        ('levels', their_source.kind.levels, source.kind.levels),
        ('the condition', _parts(their_source), _parts(source)),
    ):
        if a != b:
            raise UserError(f"config.init_from: the teacher's data have {what} {a or 'none'}, and these {b or 'none'}")


def _parts(source):
    return None if source.condition is None else source.condition.parts


def _scales(schedule):
    t = jnp.array(_TIMES)
    return schedule.alpha(t), schedule.sigma(t)


def _values(coefficients):
    return tuple(coefficient(jnp.array(_TIMES)) for coefficient in coefficients)


def _alike(a, b, tolerance):
    return all(np.allclose(x, y, rtol=tolerance, atol=tolerance) for x, y in zip(a, b, strict=True))
