"""Configs resolved, and their fields set by dotted names."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from diffusion_jax.builders.records import check
from diffusion_jax.errors import UserError, nearest


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
