"""Fills a table: trains the runs that its cells need, measures each job once, and keeps what is done."""

import functools
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffusion_jax.errors import Diverged
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.workdir import files
from experiments.papers.jobs import Bench, Job, Measured, of_samples
from experiments.papers.scale import Plan
from experiments.papers.table import UNSTABLE
from experiments.papers.trained import Settings, ensure, folder_of, needed


class Entry(NamedTuple):
    """One cell under one seed."""

    value: float
    metric: str
    protocol: dict[str, Any]
    shown: np.ndarray
    error: float = 0.0  # standard error of the value, 0 where it has none or it is not known


class Filled(NamedTuple):
    """What was found."""

    entries: dict[tuple[str, str], dict[int, Entry]]  # (row, column) -> seed -> entry
    minutes: dict[str, float]  # of CPU, for training each run, over all seeds; nothing for finished ones
    seconds: dict[tuple[str, str, int], float]  # of CPU, for each job on each run
    floors: dict[str, Entry]  # held-out data in place of samples, by data set
    folders: dict[tuple[str, int], Path]  # of every run


def fill(
    plan: Plan,
    cells: Iterable[tuple[str, str]],
    seeds: Iterable[int],
    settings: Settings,
    say: Callable[[str], None] = print,
) -> Filled:
    """Every wanted cell for every seed, of training and of sampling. Run again, it goes on where it stopped."""
    cells = list(cells)
    filled, bench_of = Filled({}, {}, {}, {}, {}), _benches(settings)
    for seed in seeds:
        for name in needed(plan, cells):
            filled.folders[name, seed] = folder_of(plan, settings, name, seed)
            mine = [cell for cell in cells if plan.cells[cell].run == name]
            run = _opened(plan, name, seed, filled, settings, say)
            bench = None if run is None else bench_of(run, seed)
            if bench is not None and any(plan.cells[cell].value == 'frechet' for cell in mine):
                _add_floor(filled, bench)
            kept = _kept(plan, settings, name, seed)
            for cell in mine:
                job = plan.cells[cell].job
                found, spent = (None, 0.0) if run is None or bench is None else once(kept, run, job, bench)
                filled.seconds[name, job.label, seed] = spent
                entry = _entry(found, plan.cells[cell].value)
                if entry is not None:
                    filled.entries.setdefault(cell, {})[seed] = entry
                    say(f'{", ".join(cell)}, seed {seed}: {entry.value:.4g}')
    return filled


def _kept(plan, settings, name, seed):
    """Where the measurements of a run lie."""
    return settings.folder / 'measured' / (f'seed_{seed}' if len(plan.trainings) == 1 else f'seed_{seed}_{name}')


def once(folder: Path, run: runs.Run, job: Job, bench: Bench) -> tuple[Measured | None, float]:
    """A job's measurement and its CPU seconds, from its files if they are there; None if sampling diverged."""
    stem = f'{job.label}_{bench.features}_n{bench.num}_step{run.step}'
    path = folder / f'{stem}.json'
    if not path.exists():
        begun = time.process_time()
        try:
            found = job.measure(run, bench)
        except Diverged:
            found = None
        seconds = time.process_time() - begun
        folder.mkdir(parents=True, exist_ok=True)
        if found is not None:
            np.save(folder / f'{stem}.npy', found.shown)
        plain = None if found is None else found._replace(shown=None)._asdict()
        files.write_json(path, {'measured': plain, 'seconds': seconds})
    kept = json.loads(path.read_text())
    if kept['measured'] is None:
        return None, kept['seconds']
    return Measured(**{**kept['measured'], 'shown': np.load(folder / f'{stem}.npy')}), kept['seconds']


def _entry(found, value):
    if found is None:
        return Entry(UNSTABLE, '', {}, np.zeros(0))
    if value not in found.values:  # such as a class score in features without classes
        return None
    return Entry(found.values[value], found.names[value], found.protocol, found.shown, found.errors.get(value, 0.0))


def _opened(plan, name, seed, filled, settings, say):
    """The run, trained unless it is there; None if it diverged."""
    folder = folder_of(plan, settings, name, seed)
    if len(plan.trainings) == 1 and (folder / 'config.json').exists():
        run = runs.load(folder)  # of any config
        if run.step >= run.config['train']['steps']:
            return run
    state = ensure(plan, name, seed, settings, say)
    if name not in settings.given:
        filled.minutes[name] = filled.minutes.get(name, 0.0) + state.seconds / 60
    return None if state.diverged else runs.load(folder)


def _benches(settings):
    """The bench of a run's data set; a reference is read once."""
    kept = {}

    def bench_of(run, seed):
        data, chosen = run.config['data'], run.config['eval']
        features = settings.features or chosen['features']
        key = json.dumps([data, features, chosen['reference']], sort_keys=True)
        if key not in kept:
            kept[key] = functools.cache(lambda: runs.reference(run, None, features)), runs.held_out(run)
        reference, held_out = kept[key]
        return Bench(reference, held_out, runs.name_of(features), settings.num, seed)

    return bench_of


def _add_floor(filled, bench):
    """Held-out rows in place of samples, at most as many as the samples."""
    name = bench.reference().name
    if bench.held_out is not None and name not in filled.floors:
        rows = Values(bench.held_out)[: bench.num]
        filled.floors[name] = _entry(of_samples(rows, bench), 'frechet')
