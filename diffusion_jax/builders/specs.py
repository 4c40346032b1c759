"""Specs: `{'name': 'karras', 'n': 18}` becomes `karras(n=18)` of the module that its place names.

A nested spec is looked up in the module that belongs to its argument's name.
"""

import importlib
import inspect
import typing
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, SimpleNamespace, UnionType
from typing import Any

from diffusion_jax import precond, schedules, times
from diffusion_jax.data import gaussian_fields, markov, mixture, spectra
from diffusion_jax.errors import UserError, nearest, one_line
from diffusion_jax.nets import clip_text, layout
from diffusion_jax.objectives import (
    adaptive,
    batch_step,
    distances,
    equations,
    kernels,
    pair_weights,
    teacher_step,
    velocities,
    weights,
)
from diffusion_jax.ranges import MOST, MOST_SEED
from diffusion_jax.samplers import euler_step, heun_step
from diffusion_jax.times import curricula

_CHAINS = SimpleNamespace(__all__=['cyclic'], cyclic=markov.cyclic)
LAWS = SimpleNamespace(
    __all__=['advected', 'power_law'], advected=gaussian_fields.advected, power_law=gaussian_fields.power_law
)
_LAYOUTS = SimpleNamespace(
    __all__=['Layout', 'adm', 'dhariwal', 'ncsnpp', 'song'],
    Layout=layout.Layout,
    adm=layout.adm,
    dhariwal=layout.dhariwal,
    ncsnpp=layout.ncsnpp,
    song=layout.song,
)
_MIXTURES = SimpleNamespace(
    __all__=['cloud', 'grid', 'ring'], cloud=mixture.cloud, grid=mixture.grid, ring=mixture.ring
)
_SPECTRA = SimpleNamespace(__all__=['stft'], stft=spectra.stft)
_ODE_STEPS = SimpleNamespace(
    __all__=['batch', 'euler', 'heun'],
    batch=batch_step,
    euler=lambda teacher, schedule: teacher_step(teacher, schedule, euler_step),
    heun=lambda teacher, schedule: teacher_step(teacher, schedule, heun_step),
)
_TEXTS = SimpleNamespace(__all__=['CLIPText'], CLIPText=clip_text.CLIPText)
# Where the name in a spec that is an argument of another spec is looked up.
_NESTED = {
    'N': curricula,
    'adaptive_weight': adaptive,
    'alpha': curricula,
    'betas': schedules,
    'chain': _CHAINS,
    'components': _MIXTURES,
    'decay': curricula,
    'distance': distances,
    'equation': equations,
    'gradient_weight': weights,
    'grid': times,
    'kernel': kernels,
    'law': LAWS,
    'layout': _LAYOUTS,
    'ode_step': _ODE_STEPS,
    'of': precond,
    'p_t': times,
    'pair_weight': pair_weights,
    'pairs': times,
    'schedule': schedules,
    'spectrum': _SPECTRA,
    'text': _TEXTS,
    'velocity': velocities,
    'weight': weights,
}


def make(
    module: ModuleType | SimpleNamespace,
    spec: Any,
    given: Mapping[str, Any],
    where: str,
    defaults: Mapping[str, Any] | None = None,
    beside: Sequence[str] = (),
) -> Any:
    """Calls the factory that a spec names with the spec's arguments, and those of the run that it has parameters for.

    Args:
        module: whose `__all__` has the names of the factories. A dotted name is a factory of any module that can be
            imported, such as `my_package.my_module.my_factory`.
        spec: `{'name': ..., ...}`.
        given: arguments that are the run's, and no spec's to set.
        where: the place of the spec, for messages.
        defaults: arguments that are the run's unless the spec sets them.
        beside: what else its section of a config may hold, to be named beside the arguments.

    Raises:
        UserError: for an unknown name or argument (with the nearest known ones), or arguments that the factory refuses.
    """
    if not isinstance(spec, Mapping):
        raise UserError(f"{where}={spec!r} must be a spec such as {{'name': ...}}")
    arguments, defaults = dict(spec), defaults or {}
    name = str(arguments.pop('name', None))
    factory = find(module, name, where)
    parameters = inspect.signature(factory).parameters
    for key, value in arguments.items():
        if key not in parameters:
            settable = [p for p in parameters if p not in given]
            raise UserError(f'{where}.{key} is not an argument of {name}; {nearest(key, [*settable, *beside])}')
        if key in given:
            raise UserError(f'{where}.{key} of {name} is what this run has, and no spec can set it: leave it out')
        if isinstance(value, Mapping):
            if key not in _NESTED:
                raise UserError(f'{where}.{key} of {name} is not a spec; got {value}')
            arguments[key] = make(_NESTED[key], value, given, f'{where}.{key}', defaults)
        else:
            arguments[key] = check_type(value, parameters[key].annotation, f'{where}.{key}')
    implied = {k: v for k, v in {**defaults, **given}.items() if k in parameters and k not in arguments}
    try:
        made = factory(**implied, **arguments)
    # Numbers beyond what a factory can hold, or divide by, are refused as those are that it checks.
    except (TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise UserError(f'{where}: {name}: {one_line(error)}') from error
    for key, value in arguments.items():
        if type(value) is int and not -MOST <= value <= (MOST_SEED if key == 'seed' else MOST):
            raise UserError(f'{where}.{key}={value} is more than 32 bits hold')
    return made


def find(module: ModuleType | SimpleNamespace, name: str, where: str) -> Callable[..., Any]:
    """The factory of this name; see `make`.

    Raises:
        UserError: if there is none.
    """
    package, dot, attribute = name.rpartition('.')
    if not dot:
        if name not in module.__all__:
            raise UserError(f'{where}.name={name!r} is unknown; {nearest(name, module.__all__)}')
        return getattr(module, name)
    if not all(part.isidentifier() for part in name.split('.')):
        raise UserError(f'{where}.name={name!r} is no dotted name, such as my_module.my_factory')
    try:
        found = getattr(importlib.import_module(package), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f'{where}.name={name!r} cannot be imported: {one_line(error)}') from error
    try:
        inspect.signature(found)
    except (TypeError, ValueError) as error:
        raise UserError(f'{where}.name={name!r} is no function with named arguments: {one_line(error)}') from error
    return found


def check_type(value, annotation, where):
    """Refuses a value that is not what its annotation says, where that is of plain types."""
    is_union = typing.get_origin(annotation) in (typing.Union, UnionType)
    allowed = set(typing.get_args(annotation) if is_union else (annotation,))
    if type(value) in allowed:
        return value
    functions = {a for a in allowed if typing.get_origin(a) is abc.Callable or hasattr(a, '_fields')}
    if functions and allowed - functions <= {type(None)}:
        raise UserError(f'{where}={value!r} must be a spec' + (', or None' if type(None) in allowed else ''))
    if not allowed <= {bool, int, float, str, type(None)}:
        return value
    if type(value) is int and float in allowed:
        return float(value)
    names = ' or '.join(sorted('None' if t is type(None) else t.__name__ for t in allowed))
    raise UserError(f'{where}={value!r} must be of type {names}')


def parse_spec(text: str) -> dict[str, Any]:
    """A command line's `name` or `name:key=value,key=value` as a spec.

    Raises:
        UserError: if it has another form.
    """
    name, _, rest = text.partition(':')
    spec: dict[str, Any] = {'name': name}
    for item in filter(None, rest.split(',')):
        key, equals, value = item.partition('=')
        if not equals or key == 'name':
            raise UserError(f'cannot read {text!r}: the form is name:key=value,key=value')
        spec[key] = literal(value)
    return spec


def argument(name: str, text: str) -> Any:
    """What a command line says of an argument of a spec: a spec, where the argument is one, else as `literal`."""
    return parse_spec(text) if name in _NESTED else literal(text)


def literal(text: str) -> Any:
    """A number, truth value or None that a command line spells out, else the text itself."""
    constants = {'True': True, 'False': False, 'None': None}
    for convert in (constants.__getitem__, int, float):
        try:
            return convert(text)
        except (KeyError, ValueError):
            continue
    return text
