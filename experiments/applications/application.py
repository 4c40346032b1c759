"""What an application is, and the parts that most of them are made of."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.applications.jobs import Job
from experiments.applications.readings import Judged
from experiments.running import user_files


class Asked(NamedTuple):
    """What an application is to be made of."""

    folder: Path  # of the application
    share: float = 1.0  # of the lengths of trainings and the numbers of samples
    data_dir: str | None = None
    given: Mapping[str, Path] = {}  # finished runs, by name: then there is nothing to train, and no other run

    def steps(self, own: int) -> int:
        """Of a training that has so many by itself."""
        return max(1, round(self.share * own))

    def num(self, own: int, least: int) -> int:
        """Of samples, of which a program takes not fewer than `least`."""
        return max(least, round(self.share * own))

    def workdir(self, run: str) -> Path:
        """Of a run."""
        return self.given.get(run, self.folder / run)

    def measured(self, run: str) -> Path:
        """The folder of what is measured of a run."""
        return self.folder / 'measured' / run


class Run(NamedTuple):
    """A model of an application."""

    title: str
    config: str
    changes: tuple[str, ...] = ()  # of the config, as they are typed
    teacher: str | None = None  # the name of the run that it starts from


class Application(NamedTuple):
    """What it is made of, and what it leaves."""

    name: str
    title: str
    data: str
    judged: str  # how, in a sentence
    runs: Mapping[str, Run]  # those that can be given; in the order of their training
    jobs: Callable[[Asked], list[Job]]
    rows: Callable[[Asked], list[Judged]]  # of the overview, of what is measured by now
    tables: Callable[[Asked], list[Path]]  # in markdown
    media: Callable[[Asked], list[Path]]  # pictures, sounds and texts, beside those that the tables show
    program: bool = False  # whether its one run is the folder of a program that trains and measures by itself
    needs: str | None = None  # a data set that is not in the package, as tensorflow-datasets calls it


def shorter(asked: Asked, config: str, flag: str = 'config', own: int | None = None) -> list[str]:
    """What shortens the training of a config, of `own` steps; nothing for a share of 1."""
    found = user_files.load_config(config)
    train = found.train
    steps = asked.steps(own or train.steps)
    values = {'train.steps': steps} if asked.share < 1 or own else {}
    if asked.share < 1:
        values['optim.warmup'] = round(asked.share * found.optim.warmup)
    if values:
        values |= {f'train.{k}_every': min(train[f'{k}_every'], steps) for k in ('log', 'save', 'sample')}
    return [f'--{flag}.{field}={value}' for field, value in values.items()]


def of_models(
    runs: Mapping[str, Run], measure: Callable[[Asked, str], list[Job]], needs_dir: bool = False
) -> Callable[[Asked], list[Job]]:
    """Each run trained, then measured; of runs that are given these alone, measured."""

    def train(asked: Asked, name: str) -> Job:
        run, workdir = runs[name], asked.workdir(name)
        arguments = [f'--config={run.config}', f'--workdir={workdir}', *run.changes, *shorter(asked, run.config)]
        arguments += [f'--config.init_from={asked.workdir(run.teacher)}'] if run.teacher else []
        arguments += [f'--config.data.dir={asked.data_dir}'] if needs_dir else []
        return Job(f'train {name}', 'diffusion_jax.train', arguments)

    def jobs(asked: Asked) -> list[Job]:
        found = []
        for name in asked.given or runs:
            found += [*([] if asked.given else [train(asked, name)]), *measure(asked, name)]
        return found

    return jobs


def measured(runs: Mapping[str, Run], *patterns: str) -> Callable[[Asked], list[Path]]:
    """Files of the folders of what is measured, by run and pattern."""

    def found(asked: Asked) -> list[Path]:
        return [path for name in runs for pattern in patterns for path in sorted(asked.measured(name).glob(pattern))]

    return found


def in_workdir(run: str, *names: str) -> Callable[[Asked], list[Path]]:
    """Files of a program's folder."""
    return lambda asked: [p for p in (asked.workdir(run) / name for name in names) if p.exists()]


def rows_of(runs: Mapping[str, Run], read: Callable[[Path, str], list[Judged]]) -> Callable[[Asked], list[Judged]]:
    """The rows of each run, from the folder of what is measured of it."""
    return lambda asked: [row for name, run in runs.items() for row in read(asked.measured(name), run.title)]
