"""The sections of a config and the fields of those that are no specs."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from diffusion_jax.errors import UserError, nearest
from diffusion_jax.specs import check_type

_SECTIONS = tuple('seed data schedule precond net objective optim ema train mesh sample eval'.split())
# What a config, or the saved config of an older run, need not have.
_OPTIONAL = {'frozen': {'name': 'fixed'}, 'init_from': None, 'teacher': None}
_OPTIONAL_FIELDS = {
    'data': {'drop_label': None},
    'mesh': {'fsdp': 1},
    'sample': {'guidance': None},
    'train': {'parts': 1, 'watchdog': 3600.0},
}
_FIELDS = {
    'train': ('batch_size', 'steps', 'log_every', 'save_every', 'sample_every', 'keep', 'parts', 'watchdog'),
    'mesh': ('data', 'fsdp'),
    'sample': ('sampler', 'times', 'clip', 'guidance', 'num', 'batch_size'),
    'eval': ('num', 'batch_size', 'features', 'reference', 'held_out', 'variance', 'bits_num', 'bits_terms'),
}


def resolve(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as plain nested dicts with every reference resolved, checked by `check`."""
    return check(config.to_dict())


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
    least = {'train': {'batch_size': 1, 'steps': 0, 'keep': 1, 'parts': 1}, 'sample': {'num': 1, 'batch_size': 1}}
    least |= {'eval': {'num': 2, 'batch_size': 1, 'bits_num': 0}}
    for section, fields in least.items():
        for field, minimum in fields.items():
            _check_number(config[section][field], minimum, f'config.{section}.{field}')
    for field in ('log_every', 'save_every', 'sample_every'):
        _check_number(config['train'][field], 0, f'config.train.{field}')
    _check_number(config['seed'], 0, 'config.seed')
    check_type(config['train']['watchdog'], float, 'config.train.watchdog')
    guidance = config['sample']['guidance']
    if guidance is not None and not isinstance(guidance, Mapping):
        raise UserError(f"config.sample.guidance={guidance!r} must be None or a spec such as {{'name': ...}}")
    check_type(config['init_from'], str | None, 'config.init_from')
    return config


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
