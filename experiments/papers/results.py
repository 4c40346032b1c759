"""What fills a table: the runs that its cells need are trained, and each is measured once; what is done is kept."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from experiments.papers.plan import Plan, Settings, needed, training_of, workdir_of
from experiments.papers.table import UNSTABLE
from experiments.running import queue
from experiments.running.locks import locked
from experiments.running.measurements import of_samples
from experiments.running.measuring import Bench, Measured, Measurement, benches, kept, opened
from experiments.running.training import is_trained, state_of


class Entry(NamedTuple):
    """One cell under one seed."""

    value: float
    metric: str
    protocol: Mapping[str, Any]
    shown: np.ndarray
    error: float = 0.0  # standard error of the value, 0 where it has none or it is not known


class Results(NamedTuple):
    """What was found."""

    entries: dict[tuple[str, str], dict[int, Entry]]  # (row, column) -> seed -> entry
    minutes: dict[str, float]  # of CPU, for training each run, over all seeds; nothing for finished ones
    seconds: dict[tuple[str, str, int], float]  # of CPU, for each measurement of each run
    floors: dict[str, Entry]  # held-out data in place of samples, by data set
    workdirs: dict[tuple[str, int], Path]  # of every run


def train_all(
    plan: Plan, names: Iterable[str], seeds: Sequence[int], settings: Settings, workers: int, command: Sequence[str]
) -> None:
    """Trains these runs: here one after the other, or `workers` at a time in processes, by `command` with --train.

    Raises:
        UserError: if one could not be trained; the others have gone on.
        Interrupted: if it was told to stop; its processes have saved.
    """
    names = [name for name in names if name not in settings.given and not _is_finished(plan, settings)]
    runs_of = [(name, seed) for seed in seeds for name in names]
    trainings = [training_of(plan, settings, *run) for run in runs_of]
    if not workers or len(plan.recipes) == 1:
        queue.train_here(trainings)
        return
    train = [[*command, f'--train={name}', f'--seed={seed}'] for name, seed in runs_of]
    _, failed, signal = queue.make_all(trainings, is_trained, workers, train.__getitem__)
    if signal:
        raise Interrupted('stopped. Run the same command again to go on.', 128 + signal)
    if failed:
        raise UserError(f'{len(failed)} runs failed: see {queue.log_of(trainings[failed[0]])}')


def _is_finished(plan, settings):
    """Whether the workdir is itself a finished run, of any config."""
    if len(plan.recipes) > 1 or not (settings.workdir / 'config.json').exists():
        return False
    try:
        run = runs.load(settings.workdir)
    except UserError:  # it has not saved yet
        return False
    return run.step >= run.config['train']['steps']


def measure_all(
    plan: Plan,
    cells: Iterable[tuple[str, str]],
    seeds: Iterable[int],
    settings: Settings,
    say: Callable[[str], None] = print,
) -> Results:
    """Every cell for every seed, of training and of sampling, from trained runs. What was measured before is read."""
    cells = list(cells)
    results, bench_of = Results({}, {}, {}, {}, {}), benches(settings.num, settings.features)
    for seed in seeds:
        for name in needed(plan, cells):
            workdir = results.workdirs[name, seed] = workdir_of(plan, settings, name, seed)
            state = state_of(workdir)
            if name not in settings.given and state.seconds:
                results.minutes[name] = results.minutes.get(name, 0.0) + state.seconds / 60
            run = None if state.diverged else opened(workdir)
            bench = None if run is None else bench_of(run, seed)
            mine = {cell: plan.cells[cell] for cell in cells if plan.cells[cell].run == name}
            if bench is not None and any(cell.value == 'frechet' for cell in mine.values()):
                _add_floor(results, bench)
            for place, (_, measurement, value) in mine.items():
                found = Measured({}, {}, diverged=state.diverged)
                if run is not None and bench is not None:
                    found = once(_measured_in(plan, settings, name, seed), run, measurement, bench)
                results.seconds[name, measurement.label, seed] = found.seconds
                entry = entry_of(found, value)
                if entry is not None:
                    results.entries.setdefault(place, {})[seed] = entry
                    say(f'{", ".join(place)}, seed {seed}: {entry.value:.4g}')
    return results


def _measured_in(plan, settings, name, seed):
    return settings.workdir / 'measured' / (f'seed_{seed}' if len(plan.recipes) == 1 else f'seed_{seed}_{name}')


def once(folder: Path, run: runs.Run, measurement: Measurement, bench: Bench) -> Measured:
    """What is measured of a run, from its file in `folder` if it is there; two commands measure one after the other."""
    path = folder / f'{measurement.label}_{bench.features}_n{bench.num}_step{run.step}.json'
    with locked(path, math.inf):
        return kept(path, lambda: measurement.measure(run, bench))


def entry_of(found: Measured, value: str) -> Entry | None:
    """One of the values that were measured; None if it is none, such as a class score in features without classes."""
    if found.diverged is not None:
        return Entry(UNSTABLE, '', {}, np.zeros(0))
    if value not in found.values:
        return None
    error = found.errors.get(value, 0.0)
    return Entry(found.values[value], found.names[value], found.protocol, found.shown, error)


def _add_floor(results, bench):
    """Held-out rows in place of samples, at most as many as the samples."""
    name, held_out = bench.reference().name, bench.held_out()
    if held_out is not None and name not in results.floors:
        results.floors[name] = entry_of(of_samples(Values(held_out)[: bench.num], bench), 'frechet')
