r"""Searches config fields for what makes a run best, by Optuna (the extra `tune`: pip install '.[tune]').

    python -m experiments.tune --config=configs/toy2d.py --space=FILE --workdir=runs/tuned --trials=40 --workers=2

trains a run for each trial and stops those that are worse than others at the same step;

    python -m experiments.tune --of=runs/mnist --space=FILE --workdir=runs/mnist_sampler --trials=60

trains nothing: its trials sample the finished run --of in other ways (sample.*), and the best is compared with the
space's DEFAULTS under seeds that no trial has seen. Running either again goes on. WORKDIR holds report.md, history.png,
importances.png. On several hosts: --storage=postgresql://..., or grpc://HOST:PORT, the same --workdir name on each.
"""

import hashlib
import itertools
import math
import re
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import optuna
from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli
from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.inference import runs
from diffusion_jax.workdir import files, paths
from experiments.running import pool
from experiments.running.locks import PATIENCE, claim, locked
from experiments.tune import report, worker
from experiments.tune.study import Shared, left, open_study

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Config to train, a run for each trial.')
_OF = flags.DEFINE_string('of', None, 'Folder of a finished run whose sampling is tuned, in place of --config.')
_SPACE = flags.DEFINE_string('space', None, 'Python file with space(trial).', required=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the study.', required=True)
_TRIALS = flags.DEFINE_integer('trials', 40, 'How many in all.', lower_bound=1)
_WORKERS = flags.DEFINE_integer('workers', 1, 'Processes at a time.', lower_bound=1)
_STORAGE = flags.DEFINE_string('storage', None, 'URL of a shared storage. Default: a journal file in --workdir.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the search.', lower_bound=0)
_TEST_SEEDS = flags.DEFINE_list(
    'test_seeds', ['1000', '1001', '1002', '1003', '1004'], 'With --of: for the comparison.'
)
_SLOT = flags.DEFINE_integer('slot', None, 'Set for the processes that a study starts.')
_COMPARE = -1  # the slot of the process that compares the best trial with the defaults
_KILLED = (-9, 137)  # exit codes


def main() -> None:
    """The entry point."""
    workdir, space = paths.local(_WORKDIR.value), worker.load_space(_SPACE.value)
    if (_CONFIG.value is None) == (_OF.value is None):
        raise UserError('set either --config or --of')
    seeds = _seeds()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if _SLOT.value is not None:
        pool.ends_with_parent()
        shared = _open(workdir, space, (_SEED.value, max(_SLOT.value, 0)))
        if _SLOT.value == _COMPARE:
            compare(shared, _evaluation(_OF.value, space), space, seeds)
        else:
            work(shared, space)
        return
    jax.config.update('jax_platforms', 'cpu')  # an accelerator is for the processes
    about = checked(workdir, space)
    workdir.mkdir(parents=True, exist_ok=True)
    with locked(workdir / 'study', PATIENCE):
        begin(workdir, about)
    run_all(_open(workdir, space, (_SEED.value,)), space, seeds)


def checked(workdir: Path, space: ModuleType) -> dict[str, Any]:
    """What a study is of, if its trials can be made.

    Raises:
        UserError: if they cannot.
    """
    text = hashlib.sha256(paths.local(_SPACE.value).read_bytes()).hexdigest()[:8]
    if _OF.value:
        run = runs.load(paths.parse(_OF.value))
        worker.check_space(space, worker.check_sampling(run), with_defaults=True)
        return {'space': text, 'step': run.step, 'config': run.config}
    config = builders.resolve(_CONFIG.value)
    worker.check_space(space, worker.check_training(config, workdir), with_defaults=False)
    return {'space': text, 'config': builders.with_teacher(config, workdir)}


def begin(workdir: Path, about: Mapping[str, Any]) -> None:
    """Notes what a study is of, so that values of something else do not come among its own.

    Raises:
        UserError: if the workdir holds a study of something else.
    """
    changed = files.differences(files.read_json(workdir / 'study.json', about), about)
    if changed:
        raise UserError(f'{workdir} holds a study of something else ({changed[0]}): use another --workdir')
    files.write_json(workdir / 'study.json', dict(about))


def run_all(shared: Shared, space: ModuleType, seeds: list[int]) -> None:
    """Starts the processes, and others for those that are killed, and writes the report.

    Raises:
        UserError: if one failed for another reason, or trials are left, or none has a value.
        Interrupted: if it was told to stop.
    """
    study, _, workdir = shared
    restarts, failed = [_TRIALS.value], []
    locks = _free_slots(workdir) if left(shared, _TRIALS.value) else {}
    if not locks:
        print(f'nothing to do: the study has its {_TRIALS.value} trials')

    def start(slot, place):
        print(f'process {slot}: started', flush=True)
        command = [sys.executable, '-m', 'diffusion_jax', 'tune', *sys.argv[1:], f'--slot={slot}']
        return pool.start(command, workdir / f'log_{slot}.txt', pool.devices_of(place, _WORKERS.value), locks.get(slot))

    def ended(slot, code):
        print(f'process {slot}: ended with code {code}', flush=True)
        if code in _KILLED and restarts[0]:  # what it was at is another's now
            restarts[0] -= 1
            slots.append(slot)
            return
        if slot in locks:
            locks[slot].close()
        if code and code not in pool.STOPPED:
            failed.append(f'process {slot} ended with code {code}, see {workdir}/log_{slot}.txt')

    slots = deque(locks)
    stopped = pool.run_all(slots, _WORKERS.value, start, ended)
    while not (stopped or failed) and left(shared, _TRIALS.value) and _others(workdir):
        time.sleep(pool.POLL)
    todo, whole = left(shared, _TRIALS.value), not (stopped or failed)
    if _OF.value and whole and not todo and report.ranked(study):
        with locked(_slot(workdir, _COMPARE), math.inf):  # or the other command does it
            slots += [] if _is_compared(shared, space, seeds) else [_COMPARE]
            stopped = pool.run_all(slots, 1, start, ended)
    with locked(workdir / 'report', PATIENCE):
        report.write(study, workdir, _confirmed(workdir))
    if stopped:
        raise Interrupted('stopped. Run the same command again to go on.', 128 + stopped)
    if failed:
        raise UserError('; '.join(failed))
    if todo:
        raise UserError(f'{todo} of {_TRIALS.value} trials are not done: run the same command again')
    if not report.ranked(study):
        raise UserError(f'no trial came to its end with a value: see {workdir}/report.md')
    print(f'{len(study.get_trials(deepcopy=False))} trials, see {workdir}/report.md')


def _slot(workdir, slot):
    return workdir / f'process_{slot}'


def _free_slots(workdir):
    """The first numbers that no process of this host has, as many as there are workers, with their locks."""
    taken = ((slot, claim(_slot(workdir, slot))) for slot in itertools.count())
    return dict(itertools.islice(((slot, lock) for slot, lock in taken if lock), _WORKERS.value))


def _others(workdir):
    """Whether another command's processes are at the study."""
    found = [claim(workdir / lock.name) for lock in (workdir / '.locks').glob('process_*')]
    for lock in filter(None, found):
        lock.close()
    return None in found


def work(shared: Shared, space: ModuleType) -> None:
    """What one process does of a study."""
    if _OF.value:
        evaluate = _evaluation(_OF.value, space)
        worker.work(shared, _TRIALS.value, space, lambda _, overrides: evaluate(overrides, worker.SEED))
    else:
        config, measure = builders.resolve(_CONFIG.value), worker.measure_of(space)
        worker.work(shared, _TRIALS.value, space, worker.of_training(config, shared.workdir, measure))


def compare(shared: Shared, evaluate, space: ModuleType, seeds: list[int]) -> None:
    """Measures the best trial and the defaults with other seeds."""
    rows = [(name, o, [evaluate(o, seed) for seed in seeds]) for name, o in _settings(shared, space)]
    files.write_json(shared.workdir / 'confirmed.json', {'seeds': seeds, 'rows': rows})


def _settings(shared, space):
    best = report.ranked(shared.study)[0].user_attrs['overrides']
    return [*worker.defaults_of(space).items(), ('best trial', best)]


def _is_compared(shared, space, seeds):
    known = _confirmed(shared.workdir)
    return known.seeds == seeds and [(row.name, row.overrides) for row in known.rows] == _settings(shared, space)


def _confirmed(workdir):
    saved = files.read_json(workdir / 'confirmed.json', {'seeds': [], 'rows': []})
    return report.Confirmed(saved['seeds'], [report.Setting(*row) for row in saved['rows']])


def _evaluation(of, space):
    return worker.of_sampling(runs.load(paths.parse(of)), worker.measure_of(space))


def _open(workdir, space, seed):
    return open_study(workdir, _STORAGE.value, getattr(space, 'DIRECTION', 'minimize'), seed)


def _seeds():
    given = ','.join(_TEST_SEEDS.value)
    if not re.fullmatch(r'\d+(,\d+)*', given):
        raise UserError(f'--test_seeds={given}: the form is 1000,1001')
    seeds = [int(seed) for seed in _TEST_SEEDS.value]
    if worker.SEED in seeds:
        raise UserError(f'--test_seeds={given}: {worker.SEED} is the seed of the trials')
    return seeds


if __name__ == '__main__':
    cli.run(main, joins=lambda: False)
