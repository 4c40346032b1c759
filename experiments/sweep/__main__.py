r"""Runs a sweep: trains and measures each of its runs, several at a time, and makes one table of them.

    python -m experiments.sweep --config=configs/toy2d.py --sweep=FILE --workdir=runs/foo --workers=2

writes WORKDIR/results.csv, results.md and results.png; every run has a folder of its own there. Running it again goes
on: finished runs are left alone, stopped ones resumed, failed ones tried again; at the same time, it shares the runs.
--index=I is run I alone, in this process, which may be one of several of a job (this is what experiments.launch starts
on a cluster).
"""

import sys

import jax
from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli
from diffusion_jax.devices import processes
from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.workdir import paths
from diffusion_jax.workdir.paths import AnyPath
from experiments.running import queue
from experiments.running.training import Training, is_measured
from experiments.sweep import plan, table

_CONFIG = config_flags.DEFINE_config_file('config', None, "Config file. Default: the sweep file's CONFIG.")
_SWEEP = flags.DEFINE_string('sweep', None, 'Python file with sweep().', required=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of their table.', required=True)
_WORKERS = flags.DEFINE_integer('workers', 1, 'Runs at a time, each in a process of its own.', lower_bound=1)
_INDEX = flags.DEFINE_integer('index', None, 'Run this one alone.', lower_bound=0)
_CHILD = flags.DEFINE_bool('child', False, 'End when standard input does: set for the processes that a sweep starts.')


def main() -> None:
    """The entry point."""
    workdir, sweep = paths.parse(_WORKDIR.value), plan.load_sweep(_SWEEP.value)
    config = builders.resolve(_CONFIG.value or plan.load_config(sweep, _SWEEP.value))
    trainings = plan.trainings(config, sweep.overrides, workdir)
    if _INDEX.value is None:
        run_all(workdir, trainings)
        return
    if _INDEX.value >= len(trainings):
        raise UserError(f'--index={_INDEX.value}: the sweep has the runs 0 to {len(trainings) - 1}')
    queue.make_one(trainings[_INDEX.value], sweep.measure, _CHILD.value)
    if processes.is_first() and not _CHILD.value:
        table.write(workdir, trainings)


def run_all(workdir: AnyPath, trainings: list[Training]) -> None:
    """Runs all that is not over, each as a process, and keeps the table up to date.

    Raises:
        UserError: before anything runs, if a run cannot be built; at the end, if any failed.
        Interrupted: if it was told to stop; its processes have saved.
    """
    jax.config.update('jax_platforms', 'cpu')  # an accelerator is for the processes that train
    for i, training in enumerate(trainings):
        if not is_measured(training):
            plan.check_build(i, training)
    workdir.mkdir(parents=True, exist_ok=True)

    def ended(i):
        rows = table.write(workdir, trainings)
        over = sum(row.is_over for row in rows)
        print(f'{trainings[i].name}: {table.describe(rows[i])} ({over} of {len(rows)})', flush=True)

    started, _, signal = queue.make_all(trainings, is_measured, _WORKERS.value, _command, ended)
    rows = table.write(workdir, trainings)
    left = [row for row in rows if not row.is_over]
    if signal:
        said = f'stopped with {len(left)} of {len(rows)} runs to go. Run the same command again.'
        raise Interrupted(said, 128 + signal)
    if left:
        raise UserError(f'{len(left)} of {len(rows)} runs are not done: see {workdir}/results.md, and run it again')
    others = (
        f'{len(rows) - started} were done before' if started else f'nothing to do, all {len(rows)} were done before'
    )
    print(f'{f"{started} runs done, " if started else ""}{others}: {workdir}/results.md')


def _command(i):
    return ['-m', 'diffusion_jax', 'sweep', *sys.argv[1:], f'--index={i}', '--child']


if __name__ == '__main__':
    cli.run(main, joins=lambda: _INDEX.value is not None)
