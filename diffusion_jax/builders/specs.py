"""Specs: `{'name': 'karras', 'n': 18}` becomes `karras(n=18)` of the module that its place names.

A nested spec is looked up in the module that belongs to its argument's name.
"""

import inspect
import typing
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace, UnionType
from typing import Any

from diffusion_jax import precond, schedules, times
from diffusion_jax.data import mixture
from diffusion_jax.errors import UserError, nearest, one_line
from diffusion_jax.objectives import distances, pair_weights, teacher_step, weights
from diffusion_jax.samplers import euler_step, heun_step
from diffusion_jax.times import curricula

_MIXTURES = SimpleNamespace(__all__=['grid', 'ring'], grid=mixture.grid, ring=mixture.ring)
_ODE_STEPS = SimpleNamespace(
    __all__=['euler', 'heun'],
    euler=lambda teacher, schedule: teacher_step(teacher, schedule, euler_step),
    heun=lambda teacher, schedule: teacher_step(teacher, schedule, heun_step),
)
# Where the name in a spec that is an argument of another spec is looked up.
_NESTED = {
    'N': curricula,
    'betas': schedules,
    'components': _MIXTURES,
    'decay': curricula,
    'distance': distances,
    'grid': times,
    'ode_step': _ODE_STEPS,
    'of': precond,
    'p_t': times,
    'pair_weight': pair_weights,
    'pairs': times,
    'schedule': schedules,
    'weight': weights,
}


def make(module: ModuleType | SimpleNamespace, spec: Any, context: Mapping[str, Any], where: str) -> Any:
    """Calls the factory that a spec names with the spec's arguments and those of the context that it has.

    Raises:
        UserError: for an unknown name or argument (with the nearest known ones), or arguments that the factory refuses.
    """
    if not isinstance(spec, Mapping):
        raise UserError(f"{where}={spec!r} must be a spec such as {{'name': ...}}")
    arguments = dict(spec)
    name = arguments.pop('name', None)
    if name not in module.__all__:
        raise UserError(f'{where}.name={name!r} is unknown; {nearest(str(name), module.__all__)}')
    factory = getattr(module, name)
    parameters = inspect.signature(factory).parameters
    for key, value in arguments.items():
        if key not in parameters:
            settable = [p for p in parameters if p not in context]
            raise UserError(f'{where}.{key} is not an argument of {name}; {nearest(key, settable)}')
        if isinstance(value, Mapping):
            if key not in _NESTED:
                raise UserError(f'{where}.{key} of {name} is not a spec; got {value}')
            arguments[key] = make(_NESTED[key], value, context, f'{where}.{key}')
        else:
            arguments[key] = check_type(value, parameters[key].annotation, f'{where}.{key}')
    implied = {k: v for k, v in context.items() if k in parameters and k not in arguments}
    try:
        return factory(**implied, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f'{where}: {name}: {one_line(error)}') from error


def check_type(value, annotation, where):
    """Refuses a value that is not what its annotation says, where that is of plain types."""
    is_union = typing.get_origin(annotation) in (typing.Union, UnionType)
    allowed = set(typing.get_args(annotation) if is_union else (annotation,))
    if not allowed <= {bool, int, float, str, type(None)} or type(value) in allowed:
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
