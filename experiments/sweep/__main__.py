r"""Runs a sweep: trains and measures each of its runs, several at a time, and makes one table of them.

    python -m experiments.sweep --config=configs/toy2d.py --sweep=FILE --workdir=runs/foo --workers=2

writes WORKDIR/results.csv, results.md and results.png; every run has a folder of its own there. Running it again goes
on: finished runs are left alone, stopped ones resumed, failed ones tried again. --index=I is run I alone, in this
process, which may be one of several of a job (this is what experiments.launch starts on a cluster).
"""

import sys
from collections import deque

import jax
from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli
from diffusion_jax.devices import processes
from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath
from experiments.sweep import plan, pool, result, table

_CONFIG = config_flags.DEFINE_config_file('config', None, "Config file. Default: the sweep file's CONFIG.")
_SWEEP = flags.DEFINE_string('sweep', None, 'Python file with sweep().', required=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of their table.', required=True)
_WORKERS = flags.DEFINE_integer('workers', 1, 'Runs at a time, each in a process of its own.', lower_bound=1)
_INDEX = flags.DEFINE_integer('index', None, 'Run this one alone.', lower_bound=0)
_CHILD = flags.DEFINE_bool('child', False, 'End when standard input does: set for the processes that a sweep starts.')


def main() -> None:
    """The entry point."""
    folder, sweep = paths.parse(_WORKDIR.value), plan.load_sweep(_SWEEP.value)
    config = builders.resolve(_CONFIG.value or plan.load_config(sweep.config, _SWEEP.value))
    jobs = plan.jobs(config, sweep.overrides, folder)
    if _INDEX.value is None:
        run_all(folder, jobs)
        return
    if _INDEX.value >= len(jobs):
        raise UserError(f'--index={_INDEX.value}: the sweep has the runs 0 to {len(jobs) - 1}')
    if _CHILD.value:
        pool.ends_with_parent()
    result.make(jobs[_INDEX.value], sweep.measure)
    if processes.is_first() and not _CHILD.value:
        table.write(folder, jobs)


def run_all(folder: AnyPath, jobs: list[plan.Job]) -> None:
    """Runs all that is not finished, each as a process, and keeps the table up to date.

    Raises:
        UserError: before anything runs, if a run cannot be built; at the end, if any failed.
        Interrupted: if it was told to stop; its processes have saved.
    """
    jax.config.update('jax_platforms', 'cpu')  # an accelerator is for the processes that train
    todo = [job for job in jobs if not result.is_done(job)]
    for job in jobs:
        plan.check_folder(job)
    for job in todo:
        plan.check_build(job)
    folder.mkdir(parents=True, exist_ok=True)

    def start(job, slot):
        job.folder.mkdir(parents=True, exist_ok=True)
        print(f'{job.folder.name}: started', flush=True)
        return pool.start(_command(job.index), _log(job), pool.devices_of(slot, _WORKERS.value))

    def ended(job, code):
        if code and code not in pool.STOPPED:
            result.fail(job, f'ended with code {code}, see {_log(job)}')
        rows = table.write(folder, jobs)
        shown = table.describe(rows[job.index])
        print(f'{job.folder.name}: {shown} ({sum(row.state == "done" for row in rows)} of {len(rows)})', flush=True)

    with files.lock(folder):
        signal = pool.run_all(deque(todo), _WORKERS.value, start, ended)
        rows = table.write(folder, jobs)
    left = [row for row in rows if row.state != 'done']
    if signal:
        raise Interrupted(
            f'stopped with {len(left)} of {len(rows)} runs to go. Run the same command again.', 128 + signal
        )
    if left:
        raise UserError(f'{len(left)} of {len(rows)} runs are not done: see {folder}/results.md, and run it again')
    before = f'{len(rows) - len(todo)} were done before' if todo else f'nothing to do, all {len(rows)} were done before'
    print(f'{f"{len(todo)} runs done, " if todo else ""}{before}: {folder}/results.md')


def _log(job):
    return paths.near(job.folder / 'log.txt')  # a process writes to it as it goes


def _command(index):
    return [sys.executable, '-m', 'experiments.sweep', *sys.argv[1:], f'--index={index}', '--child']


if __name__ == '__main__':
    cli.run(main, joins=lambda: _INDEX.value is not None)
