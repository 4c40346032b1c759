"""The runs of a plan: trained here one after the other, or several at a time in processes of their own."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_jax import builders
from diffusion_jax.errors import Diverged, Interrupted, UserError
from diffusion_jax.training.run import train
from diffusion_jax.workdir import files
from experiments.papers.scale import Files, Plan, config_of
from experiments.sweep import pool


class Settings(NamedTuple):
    """What the command line says of a table."""

    folder: Path
    num: int  # samples a cell
    features: Mapping[str, Any] | None  # None: each run's own `eval.features`
    files: Files
    given: Mapping[str, Path]  # finished runs in place of the plan's, by name


class State(NamedTuple):
    """What became of a training."""

    seconds: float = 0.0  # of CPU, compilation included: other jobs on the machine do not count
    done: bool = False
    diverged: str | None = None  # why


def folder_of(plan: Plan, settings: Settings, name: str, seed: int) -> Path:
    """Where a run lives: in the table's own folder if it is the only one, so that a finished run will do."""
    if name in settings.given:
        return settings.given[name]
    return settings.folder if len(plan.trainings) == 1 else settings.folder / f'seed_{seed}' / name


def needed(plan: Plan, cells: Iterable[tuple[str, str]]) -> list[str]:
    """The runs that some cells need, teachers first."""
    wanted = {plan.cells[cell].run for cell in cells}
    for name in reversed(list(plan.trainings)):
        start = plan.trainings[name].start
        if name in wanted and start is not None:
            wanted.add(start)
    return [name for name in plan.trainings if name in wanted]


def ensure(plan: Plan, name: str, seed: int, settings: Settings, say: Callable[[str], None] = print) -> State:
    """Trains a run unless that is done. A loss that is not finite is a result, and is kept as one.

    Raises:
        UserError: as `training.train`; for a finished run of another config.
    """
    folder, training = folder_of(plan, settings, name, seed), plan.trainings[name]
    state = _state(folder)
    if name in settings.given:
        return state
    start = folder_of(plan, settings, training.start, seed) if training.start else None
    config = config_of(training, seed, start, settings.files)
    if state.done:
        changed = files.differences(builders.check(files.load_config(folder)), builders.with_teacher(config, folder))
        if changed:
            raise UserError(f'{folder} holds a run of another config ({changed[0]}): use another --workdir')
        return state
    say(f'training {name}, seed {seed}: {training.config} in {folder}')
    begun, reason = time.process_time(), None
    try:
        train(config, folder)
    except Diverged as error:
        reason = str(error)
    state = State(state.seconds + time.process_time() - begun, True, reason)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / 'training.json', state._asdict())
    return state


def ensure_all(
    plan: Plan, names: Sequence[str], seeds: Sequence[int], settings: Settings, workers: int, command: Sequence[str]
) -> None:
    """The same for many, `workers` at a time, each in a process: this program's own command, with --train.

    Raises:
        UserError: if one could not be trained; the others have gone on.
        Interrupted: if it was told to stop; its processes have saved.
    """
    failed = []

    def start(job, slot):
        folder = folder_of(plan, settings, *job)
        folder.mkdir(parents=True, exist_ok=True)
        print(f'training {job[0]}, seed {job[1]}: see {folder}/log.txt', flush=True)
        this = [*command, f'--train={job[0]}', f'--seed={job[1]}']
        return pool.start(this, folder / 'log.txt', pool.devices_of(slot, workers))

    def ended(job, code):
        if code and code not in pool.STOPPED:
            failed.append(folder_of(plan, settings, *job))

    for wave in waves(plan, names):
        jobs = [(name, seed) for seed in seeds for name in wave if name not in settings.given]
        todo = deque(job for job in jobs if not _state(folder_of(plan, settings, *job)).done)
        signal = pool.run_all(todo, workers, start, ended)
        if signal:
            raise Interrupted('stopped. Run the same command again to go on.', 128 + signal)
        if failed:
            raise UserError(f'{len(failed)} runs failed: see {failed[0]}/log.txt')


def waves(plan: Plan, names: Sequence[str]) -> list[list[str]]:
    """The runs in groups, each of which needs those before it alone."""
    depth: dict[str, int] = {}
    for name in names:
        start = plan.trainings[name].start
        depth[name] = 0 if start is None else depth[start] + 1
    return [[name for name in names if depth[name] == d] for d in range(max(depth.values()) + 1)]


def _state(folder):
    return State(**files.read_json(folder / 'training.json', {}))
