"""The sections of a config and the fields of those that are no specs."""

import re
from collections.abc import Mapping
from typing import Any

import ml_collections

from diffusion_jax.builders.specs import check_type
from diffusion_jax.errors import UserError, nearest

_SECTIONS = tuple('seed data schedule precond net objective optim ema train mesh sample eval'.split())
# What a config, or the saved config of an older run, need not have.
_OPTIONAL = {'frozen': {'name': 'fixed'}, 'teacher': None}
_OPTIONAL |= {'init_from': None, 'init_step': 'newest', 'init_partial': None}
_OPTIONAL_FIELDS = {
    'data': {'drop_label': None},
    'mesh': {'fsdp': 1},
    'sample': {'guidance': None, 'model_times': None},
    'train': {
        'parts': 1,
        'watchdog': 3600.0,
        'keep_every': 0,
        'keep_best': 0,
        'best_by': 'loss',
        'remat': None,
        'max_skips': None,
        'spike': None,
        'profile_at': None,
        'profile_steps': 3,
    },
}
_FIELDS = {
    'train': ('batch_size', 'steps', 'log_every', 'save_every', 'sample_every', 'keep', *_OPTIONAL_FIELDS['train']),
    'mesh': ('data', 'fsdp'),
    'sample': ('sampler', 'times', 'clip', 'num', 'batch_size', *_OPTIONAL_FIELDS['sample']),
    'eval': ('num', 'batch_size', 'features', 'reference', 'held_out', 'variance', 'bits_num', 'bits_terms'),
}


def resolve(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as plain nested dicts with every reference resolved, checked by `check`."""
    return check(config.to_dict())


def override(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The config with fields set by their dotted names, e.g. `{'optim.lr': 1e-4, 'sample.sampler': {'name': 'ddim'}}`.

    A spec may be replaced as a whole, and given arguments that it did not have; those are checked when it is built.

    Raises:
        UserError: for an unknown field, with the nearest known ones.
    """
    for path, value in overrides.items():
        config = _with(config, path.split('.'), value, 'config')
    return dict(config)


def _with(node, path, value, where):
    part, *rest = path
    is_argument = not rest and hasattr(node, 'keys') and 'name' in node
    if not is_argument and (message := unknown_field(node, part, where)):
        raise UserError(message)
    return {**node, part: _with(node[part], rest, value, f'{where}.{part}') if rest else value}


def unknown_field(node: Any, part: str, where: str) -> str | None:
    """What to say of a field that a part of a config does not have; None if it has it."""
    if not hasattr(node, 'keys'):
        return f'{where}.{part} is not a field: {where} has no fields'
    return None if part in node else f'{where}.{part} is not a field; {nearest(part, node.keys())}'


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config, all that is optional filled in, if its sections and the fields of those that are no specs are right.

    Raises:
        UserError: for a missing or unknown one, or a number that cannot be.
    """
    config = {**_OPTIONAL, **config}
    _check_names(config, (*_SECTIONS, *_OPTIONAL), 'config')
    for section, defaults in _OPTIONAL_FIELDS.items():
        config[section] = {**defaults, **config[section]} if isinstance(config[section], Mapping) else config[section]
    for section, fields in _FIELDS.items():
        _check_names(config[section], fields, f'config.{section}')
    least = {
        'train': {
            'batch_size': 1,
            'steps': 0,
            'keep': 1,
            'keep_every': 0,
            'keep_best': 0,
            'parts': 1,
            'profile_steps': 1,
        },
        'sample': {'num': 1, 'batch_size': 1},
        'eval': {'num': 2, 'batch_size': 1, 'bits_num': 0},
    }
    for section, fields in least.items():
        for field, minimum in fields.items():
            _check_number(config[section][field], minimum, f'config.{section}.{field}')
    for field in ('log_every', 'save_every', 'sample_every'):
        _check_number(config['train'][field], 0, f'config.train.{field}')
    _check_number(config['seed'], 0, 'config.seed')
    check_type(config['train']['watchdog'], float, 'config.train.watchdog')
    check_type(config['train']['best_by'], str, 'config.train.best_by')
    _check_keep_every(config['train']['keep_every'], config['train']['save_every'])
    _check_train(config['train'])
    guidance = config['sample']['guidance']
    if guidance is not None and not isinstance(guidance, Mapping):
        raise UserError(f"config.sample.guidance={guidance!r} must be None or a spec such as {{'name': ...}}")
    check_type(config['init_from'], str | None, 'config.init_from')
    check_type(config['init_step'], str, 'config.init_step')
    _check_partial(check_type(config['init_partial'], str | None, 'config.init_partial'), config['init_from'])
    return config


def _check_train(train):
    check_type(train['remat'], str | None, 'config.train.remat')
    for field in ('max_skips', 'profile_at', 'profile_steps'):
        if train[field] is not None:
            _check_number(train[field], 1, f'config.train.{field}')
    spike = check_type(train['spike'], float | None, 'config.train.spike')
    if spike is not None and train['max_skips'] is None:
        raise UserError(f'config.train.spike={spike} needs config.train.max_skips, the most steps to skip in a row')
    if spike is not None and spike <= 1:
        raise UserError(f'config.train.spike={spike} must be more than 1, the usual gradient norm')


def _check_names(given, wanted, where):
    if not isinstance(given, Mapping):
        raise UserError(f'{where} must have the fields {", ".join(wanted)}')
    for name in given:
        if name not in wanted:
            raise UserError(f'{where}.{name} is not a field; {nearest(name, wanted)}')
    missing = [name for name in wanted if name not in given]
    if missing:
        raise UserError(f'{where} has no {", ".join(missing)}')


def _check_keep_every(keep_every, save_every):
    if keep_every and (not save_every or keep_every % save_every):
        near = [n * save_every for n in (keep_every // save_every, keep_every // save_every + 1)] if save_every else []
        use = f'; use {" or ".join(str(n) for n in near if n)}' if near else ''
        raise UserError(f'config.train.keep_every={keep_every} is no multiple of save_every={save_every}{use}')


def _check_partial(names, init_from):
    if names is not None and init_from is None:
        raise UserError(
            f'config.init_partial={names!r} says what to take of another run: set config.init_from, its folder'
        )
    try:
        re.compile(names or '')
    except re.error as error:
        raise UserError(f'config.init_partial={names!r} is no regular expression: {error}') from error


def _check_number(value, minimum, where):
    check_type(value, int, where)
    if value < minimum:
        raise UserError(f'{where}={value} must be at least {minimum}')
