"""Fills a table: trains the runs that its cells need, measures each job once, and keeps what is done."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffusion_jax import build, runs, workdir
from diffusion_jax.errors import Diverged
from diffusion_jax.evaluation import measure
from diffusion_jax.training import train
from experiments.papers.jobs import Bench, Job, Measured, of_samples, timed
from experiments.papers.scale import Plan, config_of, folder_of
from experiments.papers.table import UNSTABLE


class Settings(NamedTuple):
    """What the command line says of a table."""

    folder: Path
    num: int
    features: Mapping[str, Any] | None  # None: each run's own `eval.features`
    data_dir: str | None
    given: Mapping[str, Path]  # finished runs in place of the plan's, by name


class Entry(NamedTuple):
    """One cell under one seed."""

    value: float
    metric: str
    protocol: dict[str, Any]
    seconds: float  # of CPU, for its job
    shown: np.ndarray


class Filled(NamedTuple):
    """What was found."""

    entries: dict[tuple[str, str], dict[int, Entry]]  # (row, column) -> seed -> entry
    minutes: dict[str, float]  # of CPU, for training each run, over all seeds; nothing for finished ones
    floors: dict[str, Entry]  # held-out data in place of samples, by data set
    folders: dict[tuple[str, int], Path]  # of every run


def needed(plan: Plan, cells: Iterable[tuple[str, str]]) -> list[str]:
    """The runs that some cells need, teachers first."""
    wanted = {plan.cells[cell].run for cell in cells}
    for name in reversed(plan.trainings):
        if name in wanted and plan.trainings[name].start:
            wanted.add(plan.trainings[name].start)
    return [name for name in plan.trainings if name in wanted]


def fill(
    plan: Plan,
    cells: Iterable[tuple[str, str]],
    seeds: Iterable[int],
    settings: Settings,
    say: Callable[[str], None] = print,
) -> Filled:
    """Every wanted cell for every seed, of training and of sampling. Run again, it goes on where it stopped."""
    cells = list(cells)
    filled, bench_of = Filled({}, {}, {}, {}), _benches(settings)
    for seed in seeds:
        for name in needed(plan, cells):
            folder = settings.given.get(name) or folder_of(plan, settings.folder, name, seed)
            filled.folders[name, seed] = folder
            mine = [cell for cell in cells if plan.cells[cell].run == name]
            run = _trained(plan, name, seed, folder, filled, settings, bool(mine), say)
            bench = None if run is None else bench_of(run, seed)
            if bench is not None and any(plan.cells[cell].value == 'frechet' for cell in mine):
                _add_floor(filled, bench)
            measured: dict[str, tuple[Measured | None, float]] = {}
            for cell in mine:
                job, value = plan.cells[cell].job, plan.cells[cell].value
                if job.label not in measured:
                    kept = settings.folder / 'measured' / f'seed_{seed}_{name}' if len(plan.trainings) > 1 else None
                    kept = kept or settings.folder / 'measured' / f'seed_{seed}'
                    measured[job.label] = (None, 0.0) if bench is None else once(kept, run, job, bench)
                entry = _entry(*measured[job.label], value)
                if entry is not None:
                    filled.entries.setdefault(cell, {})[seed] = entry
                    say(f'{", ".join(cell)}, seed {seed}: {entry.value:.4g}')
    return filled


def once(folder: Path, run: runs.Run, job: Job, bench: Bench) -> tuple[Measured | None, float]:
    """A job's measurement and its CPU seconds, from its files if they are there; None if sampling diverged."""
    stem = f'{job.label}_{bench.features}_n{bench.num}_step{run.step}'
    path = folder / f'{stem}.json'
    if not path.exists():
        try:
            found, seconds = timed(lambda: job.measure(run, bench))
        except Diverged:
            found, seconds = None, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if found is not None:
            np.save(folder / f'{stem}.npy', found.shown)
        plain = None if found is None else found._replace(shown=None)._asdict()
        workdir.write_json(path, {'measured': plain, 'seconds': seconds})
    kept = json.loads(path.read_text())
    if kept['measured'] is None:
        return None, kept['seconds']
    return Measured(**{**kept['measured'], 'shown': np.load(folder / f'{stem}.npy')}), kept['seconds']


def _entry(found, seconds, value):
    if found is None:
        return Entry(UNSTABLE, '', {}, seconds, np.zeros(0))
    if value not in found.values:  # such as a class score in features without classes
        return None
    return Entry(found.values[value], found.names[value], found.protocol, seconds, found.shown)


def _trained(plan, name, seed, folder, filled, settings, wanted, say):
    """The run, trained unless it is there; None if it diverged, or is wanted as a teacher alone."""
    if name in settings.given:
        return runs.load(folder) if wanted else None
    if len(plan.trainings) == 1 and (folder / 'config.json').exists():
        run = runs.load(folder)
        if run.step >= run.config['train']['steps']:
            return run
    training = plan.trainings[name]
    start = None if training.start is None else filled.folders[training.start, seed]
    config = config_of(training, seed, start, settings.data_dir)
    path = folder / 'training.json'
    kept = workdir.read_json(path, {'seconds': 0.0, 'done': False, 'diverged': None})
    if not kept['done']:
        say(f'training {name}, seed {seed}: {training.config} in {folder}')
        seconds, kept['diverged'] = timed_train(config, folder)
        kept = {**kept, 'seconds': kept['seconds'] + seconds, 'done': True}
        folder.mkdir(parents=True, exist_ok=True)
        workdir.write_json(path, kept)
    filled.minutes[name] = filled.minutes.get(name, 0.0) + kept['seconds'] / 60
    return runs.load(folder) if wanted and kept['diverged'] is None else None


def timed_train(config: dict[str, Any], folder: Path) -> tuple[float, str | None]:
    """Trains a run; CPU seconds, compilation included, and why it diverged, if it did."""

    def work():
        try:
            train(config, folder)
        except Diverged as error:
            return str(error)

    reason, seconds = timed(work)
    return seconds, reason


def _benches(settings):
    """The bench of a run's data set; a reference is read once."""
    kept = {}

    def bench_of(run, seed):
        data, chosen = run.config['data'], run.config['eval']
        features = settings.features or chosen['features']
        key = json.dumps([data, features, chosen['reference']], sort_keys=True)
        if key not in kept:
            same = chosen['reference'] == data.get('split')
            source = run.experiment.source if same else build.build_source(data, chosen['reference'])
            held_out = build.build_source(data, chosen['held_out']) if chosen['held_out'] else None
            kept[key] = functools.cache(lambda: _reference(source, features)), held_out, runs.name_of(features)
        reference, held_out, name = kept[key]
        return Bench(reference, held_out, name, settings.num, seed)

    return bench_of


def _reference(source, features):
    return measure.make_reference(source, build.build_features(features, measure.values_of(source)))


def _add_floor(filled, bench):
    """Held-out rows in place of samples, at most as many as the samples."""
    name = bench.reference().name
    if bench.held_out is not None and name not in filled.floors:
        rows = measure.values_of(bench.held_out)[: bench.num]
        filled.floors[name] = _entry(of_samples(rows, bench), 0.0, 'frechet')
