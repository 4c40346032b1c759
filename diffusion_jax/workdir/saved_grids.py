"""Time grids kept with a run: WORKDIR/grids/NAME.json holds the times and where they come from.

On a command line and in a `sample` section one is `{'name': 'saved', 'grid': NAME}`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from diffusion_jax.errors import UserError, nearest
from diffusion_jax.times import Grid
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath


def save(
    workdir: AnyPath,
    grid: str,
    times: Grid,
    provenance: Mapping[str, Any],
    model_times: Float[np.ndarray, ' n'] | None = None,
) -> AnyPath:
    """Writes times `[n + 1]` under the name `grid`, in place of older ones of that name; returns the path.

    `model_times` `[n]` are those that the model is told on it, if they are others.
    """
    path = where(workdir, grid)
    path.parent.mkdir(exist_ok=True)
    told = {} if model_times is None else {'model_times': model_times.tolist()}
    files.write_json(path, {'times': times.tolist(), **told, **provenance})
    return path


def where(workdir: AnyPath, grid: str) -> AnyPath:
    """The file of a saved grid."""
    return workdir / 'grids' / f'{grid}.json'


def load(workdir: AnyPath, grid: str) -> dict[str, tuple[float, ...]]:
    """The `times` of a saved grid, and its `model_times` if it has them.

    Raises:
        UserError: if the run has none of this name, with the nearest ones, or the file is damaged.
    """
    known = sorted(path.stem for path in (workdir / 'grids').glob('*.json'))
    if grid not in known:
        raise UserError(
            f'{workdir} has no grid {grid!r}; '
            + (nearest(grid, known) if known else 'make one: python -m experiments.search_grid')
        )
    content = files.read_json(where(workdir, grid), {})
    found = {name: content[name] for name in ('times', 'model_times') if name in content}
    if 'times' not in found or not all(_are_numbers(values) for values in found.values()):
        raise UserError(f'{where(workdir, grid)} is damaged: it holds no times')
    return {name: tuple(map(float, values)) for name, values in found.items()}


def _are_numbers(values):
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)


def resolved(workdir: AnyPath, sample: Mapping[str, Any]) -> dict[str, Any]:
    """A `sample` section in which a saved grid has become its times, and those of the model; any other is as it was.

    Raises:
        UserError: as `load`, or for a spec of another form.
    """
    spec = dict(sample['times'])
    if spec['name'] != 'saved':
        return dict(sample)
    if spec.keys() != {'name', 'grid'}:
        raise UserError(f'--grid={spec}: the form is saved:grid=NAME')
    found = load(workdir, str(spec['grid']))
    return {**sample, **found, 'times': {'name': 'at', 'times': found['times']}}
