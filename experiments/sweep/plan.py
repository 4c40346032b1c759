"""A sweep file and a config made into jobs: which runs there are, and where each lies."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from diffusion_jax import builders
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath
from experiments.sweep.measured import Measured, evaluated
from experiments.sweep.space import Overrides

_NAME = 60  # characters of a folder's name that tell of its overrides


class Job(NamedTuple):
    """One run of a sweep."""

    index: int
    overrides: Overrides
    config: dict[str, Any]  # resolved
    folder: AnyPath


class Sweep(NamedTuple):
    """What a sweep file holds."""

    overrides: list[Overrides]  # each once
    measure: Callable[[AnyPath], Measured]
    config: str | None


def load_file(path: str) -> ModuleType:
    """A Python file as a module.

    Raises:
        UserError: if there is no such file.
    """
    if not Path(path).is_file():
        raise UserError(f'there is no file {path}')
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f'{path} is no Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_sweep(path: str) -> Sweep:
    """A sweep file; of runs that are the same only the first stays.

    Raises:
        UserError: if there is no such file, or it has no `sweep()`, or that gives no runs, or something else.
    """
    module = load_file(path)
    if not hasattr(module, 'sweep'):
        raise UserError(f'{path} has no function sweep()')
    given = list(module.sweep() or ())
    if not given:
        raise UserError(f'sweep() of {path} gives no runs')
    for one in given:
        if not isinstance(one, Mapping):
            raise UserError(f"sweep() of {path} gives {one!r}: a run is a dict such as {{'optim.lr': 1e-4}}")
    try:
        overrides = list({_hash(o): o for o in map(_plain, given)}.values())
    except TypeError as error:
        raise UserError(f'sweep() of {path}: {one_line(error)}') from error
    return Sweep(overrides, getattr(module, 'measure', evaluated), getattr(module, 'CONFIG', None))


def load_config(path: str | None, sweep: str) -> Any:
    """The config of a file's `get_config`, named as `FILE` or `FILE:ARG`.

    Raises:
        UserError: if there is none.
    """
    if path is None:
        raise UserError(f'set --config, or CONFIG in {sweep}')
    file, colon, arg = path.partition(':')
    get_config = load_file(file).get_config
    return get_config(arg) if colon else get_config()


def jobs(config: Mapping[str, Any], overrides: Sequence[Overrides], folder: AnyPath) -> list[Job]:
    """The runs of a sweep in `folder`. A run keeps its folder when others come before it; nothing is written.

    Raises:
        UserError: for an unknown field.
    """
    there = {path.name.rpartition('-')[2]: path for path in folder.glob('[0-9]*-*')}
    planned = []
    for i, (changes, changed) in enumerate(zip(overrides, configs(config, overrides), strict=True)):
        name = f'{i:03d}-{_readable(changes)}-{_hash(changes)}'
        planned.append(Job(i, changes, changed, there.get(_hash(changes), folder / name)))
    return planned


def configs(config: Mapping[str, Any], overrides: Sequence[Overrides]) -> list[dict[str, Any]]:
    """The configs of the runs of a sweep.

    Raises:
        UserError: for an unknown field.
    """
    made = []
    for i, changes in enumerate(overrides):
        try:
            made.append(builders.check(builders.override(config, changes)))
        except UserError as error:
            raise UserError(f'run {i} of the sweep: {error}') from error
    return made


def check_folder(job: Job) -> None:
    """Refuses a folder that holds a run of another config.

    Raises:
        UserError: naming the first field that differs.
    """
    if (job.folder / 'config.json').exists():
        changed = files.differences(files.load_config(job.folder), builders.with_teacher(job.config, job.folder))
        if changed:
            raise UserError(f'{job.folder} holds a run of another config ({changed[0]}): use another --workdir')


def check_build(job: Job) -> None:
    """Builds all of a run but its data, so that what cannot be built is told before anything runs.

    Raises:
        UserError: for anything that cannot be built.
    """
    try:
        build_all(job.config, job.folder)
    except UserError as error:
        raise UserError(f'run {job.index} of the sweep: {error}') from error


def build_all(config: Mapping[str, Any], folder: AnyPath) -> None:
    """Builds all of a resolved config but its data, for nothing but what is refused.

    Raises:
        UserError: for anything that cannot be built.
    """
    config = builders.with_teacher(config, folder)
    experiment = builders.build({**config, 'data': builders.undecoded(config['data'])})
    builders.build_draw(experiment, config['sample'])


def label(value: Any) -> str:
    """A value of an override in few characters: of a spec its name and arguments."""
    if isinstance(value, Mapping):
        rest = ','.join(f'{k}={label(v)}' for k, v in value.items() if k != 'name')
        return f'{value.get("name", "")}({rest})' if rest else str(value.get('name', ''))
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _plain(overrides: Overrides) -> Overrides:
    """The same as JSON has it, whatever NumPy or ml_collections had to do with it."""
    return json.loads(json.dumps(overrides, default=_bare))


def _bare(value):
    for method in ('to_dict', 'tolist'):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f'{value!r} is no number, text, list or spec')


def _hash(overrides: Overrides) -> str:
    return hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()[:8]


def _readable(overrides: Overrides) -> str:
    text = ','.join(f'{field.rpartition(".")[2]}={label(value)}' for field, value in overrides.items())
    return re.sub(r'[^\w.,=+-]+', '_', text)[:_NAME].rstrip('_') or 'base'
