"""A sweep file and a config made into trainings: which runs there are, and where each lies."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from diffusion_jax import builders
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.workdir.paths import AnyPath
from experiments.running import user_files
from experiments.running.measurements import evaluated
from experiments.running.measuring import Measure
from experiments.running.tables import label
from experiments.running.training import Training, build_all
from experiments.sweep.space import Overrides

_NAME = 60  # characters of a workdir's name that tell of its overrides


class Sweep(NamedTuple):
    """What a sweep file holds."""

    overrides: list[Overrides]  # each once
    measure: Measure
    config: str | None


def load_sweep(path: str) -> Sweep:
    """A sweep file; of runs that are the same only the first stays.

    Raises:
        UserError: if there is no such file, or it has no `sweep()`, or that gives no runs, or something else.
    """
    module = user_files.load(path)
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


def load_config(sweep: Sweep, path: str) -> Any:
    """The config that the sweep file at `path` names.

    Raises:
        UserError: if it names none.
    """
    if sweep.config is None:
        raise UserError(f'set --config, or CONFIG in {path}')
    return user_files.load_config(sweep.config)


def trainings(config: Mapping[str, Any], overrides: Sequence[Overrides], workdir: AnyPath) -> list[Training]:
    """The runs of a sweep in `workdir`. A run keeps its own when others come before it; nothing is written.

    Raises:
        UserError: for an unknown field.
    """
    there = {path.name.rpartition('-')[2]: path for path in workdir.glob('[0-9]*-*')}
    planned = []
    for i, (changes, changed) in enumerate(zip(overrides, configs(config, overrides), strict=True)):
        name = f'{i:03d}-{_readable(changes)}-{_hash(changes)}'
        mine = there.get(_hash(changes), workdir / name)
        planned.append(Training(mine.name, changed, mine, changes))
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


def check_build(i: int, training: Training) -> None:
    """Builds all of run `i` but its data, so that what cannot be built is told before anything runs.

    Raises:
        UserError: for anything that cannot be built.
    """
    try:
        build_all(training.config, training.workdir)
    except UserError as error:
        raise UserError(f'run {i} of the sweep: {error}') from error


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
