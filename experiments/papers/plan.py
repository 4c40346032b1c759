"""How one scale fills a paper's table: the runs to train, and which measurement of which run makes each cell."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_jax import builders
from experiments.running.measuring import Measurement
from experiments.running.training import Training

SCALES = ('mini', 'paper')


class Recipe(NamedTuple):
    """How a run is made: a config file and what is changed in it, by dotted fields; a mapping replaces a section."""

    config: str  # 'configs/quickstart.py', or with its argument 'configs/quickstart.py:runlocal'
    overrides: Mapping[str, Any] = {}
    start: str | None = None  # name of the run that it starts from


class Cell(NamedTuple):
    """Where a number comes from."""

    run: str
    measurement: Measurement
    value: str = 'frechet'  # among those that are measured


class Plan(NamedTuple):
    """A whole table at one scale. A plan of one run has it in the workdir itself, so that a finished one will do."""

    data: str  # and the network, in words
    differs: str  # what it changes in the paper's setting
    recipes: Mapping[str, Recipe]  # a teacher before its students
    cells: Mapping[tuple[str, str], Cell]
    num: int  # samples a cell


class Files(NamedTuple):
    """What a run reads that is the user's."""

    data_dir: str | None = None
    vgg: str | None = None  # LPIPS's two
    lin: str | None = None


class Settings(NamedTuple):
    """What the command line says of a table."""

    workdir: Path
    num: int  # samples a cell
    features: Mapping[str, Any] | None = None  # None: each run's own `eval.features`
    files: Files = Files()
    given: Mapping[str, Path] = {}  # finished runs in place of the plan's, by name


Planner = Callable[[str], Plan]  # scale -> plan


def every(runs: Mapping[str, str], measurements: Mapping[str, Measurement]) -> dict[tuple[str, str], Cell]:
    """Cells of rows by columns: the run of each row, measured as each column has it."""
    return {(row, column): Cell(run, made) for row, run in runs.items() for column, made in measurements.items()}


def config_of(recipe: Recipe, seed: int, start: Path | None, files: Files) -> dict[str, Any]:
    """The resolved config of a run.

    Raises:
        UserError: for an override of an unknown field, or a config that `builders.check` refuses.
    """
    path, _, argument = recipe.config.partition(':')
    module = importlib.import_module('.'.join(Path(path).with_suffix('').parts))
    config = module.get_config(argument) if argument else module.get_config()
    config.seed = seed
    if files.data_dir is not None and 'dir' in config.data:
        config.data.dir = files.data_dir
    if config.objective.get('distance', {}).get('name') == 'lpips':
        config.objective.distance.update(vgg=files.vgg, lin=files.lin)
    if start is not None:
        config.init_from = str(start)
    return builders.check(builders.override(builders.resolve(config), recipe.overrides))


def workdir_of(plan: Plan, settings: Settings, name: str, seed: int) -> Path:
    """Where a run lies: in the table's own workdir if it is the only one, so that a finished run will do."""
    if name in settings.given:
        return settings.given[name]
    return settings.workdir if len(plan.recipes) == 1 else settings.workdir / f'seed_{seed}' / name


def needed(plan: Plan, cells: Iterable[tuple[str, str]]) -> list[str]:
    """The runs that some cells need, teachers first."""
    wanted = {plan.cells[cell].run for cell in cells}
    for name in reversed(list(plan.recipes)):
        start = plan.recipes[name].start
        if name in wanted and start is not None:
            wanted.add(start)
    return [name for name in plan.recipes if name in wanted]


def training_of(plan: Plan, settings: Settings, name: str, seed: int) -> Training:
    """A run of a plan."""
    recipe = plan.recipes[name]
    start = workdir_of(plan, settings, recipe.start, seed) if recipe.start else None
    config = config_of(recipe, seed, start, settings.files)
    return Training(f'{name}, seed {seed}', config, workdir_of(plan, settings, name, seed), recipe.overrides)
