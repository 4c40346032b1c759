"""How one scale fills a paper's table: the runs to train, and which sampler of which run makes each cell."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_jax import builders
from experiments.papers.jobs import Job

SCALES = ('mini', 'paper')


class Training(NamedTuple):
    """A run: a config file and what is changed in it, by dotted fields; a mapping replaces a whole section."""

    config: str  # 'configs/quickstart.py', or with its argument 'configs/quickstart.py:runlocal'
    overrides: Mapping[str, Any] = {}
    start: str | None = None  # name of the run that it starts from


class Files(NamedTuple):
    """What a run reads that is the user's."""

    data_dir: str | None = None
    vgg: str | None = None  # LPIPS's two
    lin: str | None = None


class Cell(NamedTuple):
    """Where a number comes from."""

    run: str
    job: Job
    value: str = 'frechet'  # among those that the job measures


class Plan(NamedTuple):
    """A whole table at one scale. A plan of one run has it in the folder itself, so that a finished one will do."""

    data: str  # and the network, in words
    differs: str  # what it changes in the paper's setting
    trainings: Mapping[str, Training]  # a teacher before its students
    cells: Mapping[tuple[str, str], Cell]
    num: int  # samples a cell


Planner = Callable[[str], Plan]  # scale -> plan


def config_of(training: Training, seed: int, start: Path | None, files: Files) -> dict[str, Any]:
    """The resolved config of a run.

    Raises:
        UserError: for an override of an unknown field, or a config that `builders.check` refuses.
    """
    path, _, argument = training.config.partition(':')
    module = importlib.import_module('.'.join(Path(path).with_suffix('').parts))
    config = module.get_config(argument) if argument else module.get_config()
    config.seed = seed
    if files.data_dir is not None and 'dir' in config.data:
        config.data.dir = files.data_dir
    if config.objective.get('distance', {}).get('name') == 'lpips':
        config.objective.distance.update(vgg=files.vgg, lin=files.lin)
    if start is not None:
        config.init_from = str(start)
    return builders.check(builders.override(builders.resolve(config), training.overrides))
