"""A trained run opened again, for sampling and evaluation."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffusion_jax import build, checkpoint, sharding, workdir
from diffusion_jax.types import Params


class Run(NamedTuple):
    """A trained model and what it was trained on."""

    config: dict[str, Any]
    experiment: build.Experiment
    params: Params  # the averaged ones
    step: int
    mesh: Mesh


def load(folder: Path) -> Run:
    """Opens the newest checkpoint of a run.

    Raises:
        UserError: if the folder holds no run, or no checkpoint, or the data set is gone.
    """
    config = workdir.load_config(folder)
    mesh = sharding.make_mesh(config['mesh']['data'])
    experiment = build.build(config)
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    target = sharding.replicated(mesh)
    abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=target), shapes)
    params, step = checkpoint.restore_ema(folder, abstract)
    return Run(config, experiment, params, step, mesh)


def sample_spec(
    spec: Mapping[str, Any], sampler: str | None, steps: int | None, grid: str | None
) -> dict[str, Any]:
    """A config's `sample` section with a command line's choices put in."""
    spec = {**spec, 'sampler': dict(spec['sampler']), 'times': dict(spec['times'])}
    if sampler:
        spec['sampler'] = build.parse_spec(sampler)
    if grid:
        spec['times'] = {'n': spec['times']['n'], **build.parse_spec(grid)}
    if steps:
        spec['times']['n'] = steps
    return spec


@contextlib.contextmanager
def progress_bar(what: str, total: int):
    """Yields a function that takes the number done."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
