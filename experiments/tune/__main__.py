r"""Searches config fields for what makes a run best, by Optuna (the extra `tune`: pip install '.[tune]').

    python -m experiments.tune --config=configs/toy2d.py --space=FILE --workdir=runs/tuned --trials=40 --workers=2

trains a run for each trial and stops those that are worse than others at the same step;

    python -m experiments.tune --of=runs/mnist --space=FILE --workdir=runs/mnist_sampler --trials=60

trains nothing: its trials sample the finished run --of in other ways (sample.*), and the best is compared with the
space's DEFAULT under seeds that no trial has seen. Running either again goes on. WORKDIR holds report.md, history.png,
importances.png. On several hosts: --storage=postgresql://..., or grpc://HOST:PORT, the same --workdir name on each.
"""

import sys
from collections import deque
from pathlib import Path

import jax
import optuna
from absl import flags
from ml_collections import config_flags

from diffusion_jax import build, cli, runs, workdir
from diffusion_jax.errors import Interrupted, UserError
from experiments.sweep import pool
from experiments.tune import report, worker
from experiments.tune.study import open_study

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Config to train, a run for each trial.')
_OF = flags.DEFINE_string('of', None, 'Folder of a finished run whose sampling is tuned, in place of --config.')
_SPACE = flags.DEFINE_string('space', None, 'Python file with space(trial).', required=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the study.', required=True)
_TRIALS = flags.DEFINE_integer('trials', 40, 'How many in all.', lower_bound=1)
_WORKERS = flags.DEFINE_integer('workers', 1, 'Processes at a time.', lower_bound=1)
_STORAGE = flags.DEFINE_string('storage', None, 'URL of a shared storage. Default: a journal file in --workdir.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the search.')
_TEST_SEEDS = flags.DEFINE_list(
    'test_seeds', ['1000', '1001', '1002', '1003', '1004'], 'With --of: for the comparison.'
)
_SLOT = flags.DEFINE_integer('slot', None, 'Set for the processes that a study starts.')
_COMPARE = -1  # the slot of the process that compares the best trial with the default


def main() -> None:
    """The entry point."""
    folder, space = Path(_WORKDIR.value), worker.load_space(_SPACE.value)
    if (_CONFIG.value is None) == (_OF.value is None):
        raise UserError('set either --config or --of')
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if _SLOT.value is not None:
        pool.ends_with_parent()
        study = _study(folder, space, _SEED.value + _SLOT.value)
        if _SLOT.value == _COMPARE:
            compare(study, folder, _evaluation(_OF.value, space), space)
        else:
            work(study, folder, space)
        return
    jax.config.update('jax_platforms', 'cpu')  # an accelerator is for the processes
    if _OF.value:
        runs.load(Path(_OF.value))
    else:
        build.build(build.with_teacher(build.resolve(_CONFIG.value), folder))
    folder.mkdir(parents=True, exist_ok=True)
    with workdir.lock(folder):
        run_all(folder, space)


def run_all(folder: Path, space) -> None:
    """Starts the processes, and others for those that are killed, and writes the report.

    Raises:
        UserError: if one failed for another reason, or no trial came to an end.
        Interrupted: if it was told to stop.
    """
    study = _study(folder, space, _SEED.value)
    slots, left = deque(range(_WORKERS.value)), [_TRIALS.value]
    failed = []

    def start(slot, _):
        print(f'process {slot}: started', flush=True)
        command = [sys.executable, '-m', 'experiments.tune', *sys.argv[1:], f'--slot={slot}']
        return pool.start(command, folder / f'log_{slot}.txt', pool.devices_of(max(slot, 0), _WORKERS.value))

    def ended(slot, code):
        print(f'process {slot}: ended with code {code}', flush=True)
        if code in (-9, 137) and left[0]:  # killed: what it was at is another's now
            left[0] -= 1
            slots.append(slot)
        elif code and code not in pool.STOPPED:
            failed.append(f'process {slot} ended with code {code}, see {folder}/log_{slot}.txt')

    stopped = pool.run_all(slots, _WORKERS.value, start, ended)
    if not stopped and not failed and _OF.value and report.ranked(study):
        stopped = pool.run_all(deque([_COMPARE]), 1, start, ended)
    confirmed = [report.Confirmed(*row) for row in workdir.read_json(folder / 'confirmed.json', [])]
    report.write(study, folder, confirmed, _seeds())
    if stopped:
        raise Interrupted('stopped. Run the same command again to go on.', 128 + stopped)
    if failed:
        raise UserError('; '.join(failed))
    done = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    print(f'{len(done)} trials, see {folder}/report.md')


def work(study: optuna.Study, folder: Path, space) -> None:
    """What one process does of a study."""
    if _OF.value:
        evaluate = _evaluation(_OF.value, space)
        worker.work(study, folder, _TRIALS.value, space, lambda _, overrides: evaluate(overrides, worker.SEED))
    else:
        config, measure = build.resolve(_CONFIG.value), worker.measure_of(space)
        worker.work(study, folder, _TRIALS.value, space, worker.of_training(config, folder, measure))


def compare(study: optuna.Study, folder: Path, evaluate, space) -> None:
    """Measures the best trial and the default with other seeds."""
    best = report.ranked(study)[0].user_attrs['overrides']
    settings = {'default': getattr(space, 'DEFAULT', {}), 'best trial': best}
    rows = [report.Confirmed(k, o, [evaluate(o, seed) for seed in _seeds()]) for k, o in settings.items()]
    workdir.write_json(folder / 'confirmed.json', rows)


def _evaluation(of, space):
    return worker.of_sampling(runs.load(Path(of)), worker.measure_of(space))


def _study(folder, space, seed):
    return open_study(folder, _STORAGE.value, getattr(space, 'DIRECTION', 'minimize'), max(seed, 0))


def _seeds():
    return [int(seed) for seed in _TEST_SEEDS.value]


if __name__ == '__main__':
    cli.run(main, joins=lambda: False)
