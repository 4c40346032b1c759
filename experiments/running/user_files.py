"""Python files that a user names on the command line."""

import importlib.util
from types import ModuleType
from typing import Any

from diffusion_jax import shipped
from diffusion_jax.errors import UserError
from diffusion_jax.workdir import paths


def load(path: str) -> ModuleType:
    """A Python file as a module; one of the repository is found from any folder.

    Raises:
        UserError: if there is no such file.
    """
    file = paths.local(shipped.file(path))
    if not file.is_file():
        raise UserError(f'there is no file {path}')
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UserError(f'{path} is no Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_config(named: str) -> Any:
    """The config of a file's `get_config`, named as `FILE` or `FILE:ARG`.

    Raises:
        UserError: if there is no such config.
    """
    file, colon, argument = shipped.config(named).partition(':')
    get_config = load(file).get_config
    return get_config(argument) if colon else get_config()
