"""The command line of a paper's table."""

import itertools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import flags

from diffusion_jax.builders import specs
from diffusion_jax.errors import UserError, nearest
from experiments.papers import report
from experiments.papers.fill import fill
from experiments.papers.scale import SCALES, Files, Plan, Planner
from experiments.papers.table import Table
from experiments.papers.trained import Settings, ensure, ensure_all, needed
from experiments.sweep import pool


def define(paper: Table, planner: Planner) -> Callable[[], None]:
    """Defines the flags, and returns the entry point of one experiment, which reads them."""
    scale = flags.DEFINE_enum('scale', 'mini', SCALES, 'mini: minutes to an hour on 2 cores; paper: its own setting.')
    folder = flags.DEFINE_string(
        'workdir', None, 'Folder of the runs and of the table; where there is one run, its own.', required=True
    )
    num = flags.DEFINE_integer('num', None, "Samples a cell. Default: the scale's.", lower_bound=2)
    seeds = flags.DEFINE_multi_integer('seed', [0], 'Seed of training and of sampling, once for every replicate.')
    rows = flags.DEFINE_list('rows', None, 'Rows to fill. Default: all.')
    columns = flags.DEFINE_list('columns', None, 'Columns to fill. Default: all.')
    data_dir = flags.DEFINE_string('data_dir', None, 'Folder of tensorflow-datasets.')
    lpips = flags.DEFINE_list('lpips', None, 'VGG16.pth,LIN.pth: the two files of LPIPS, see configs/cifar10_cd.py.')
    features = flags.DEFINE_string('features', None, "e.g. inception:path=FILE. Default: each run's own eval.features.")
    given = flags.DEFINE_multi_string('given', [], 'NAME=FOLDER: a finished run in place of one of the table.')
    workers = flags.DEFINE_integer(
        'workers', 0, 'Trainings at a time, each in a process of its own; 0: one after the other, in this one.'
    )
    child = flags.DEFINE_bool(
        'child', False, 'End when standard input does: set for the processes that a table starts.'
    )
    alone = flags.DEFINE_string('train', None, 'Train this run alone, its teacher being there, and measure nothing.')

    def main() -> None:
        plan = planner(scale.value)
        if lpips.value is not None and len(lpips.value) != 2:
            raise UserError('--lpips: the form is VGG16.pth,LIN.pth')
        wanted = chosen(plan, paper, rows.value, columns.value)
        settings = Settings(
            Path(folder.value),
            num.value or plan.num,
            specs.parse_spec(features.value) if features.value else None,
            Files(data_dir.value, *(lpips.value or (None, None))),
            finished(given.value, plan),
        )
        if alone.value:
            if child.value:
                pool.ends_with_parent()
            for seed in seeds.value:
                ensure(plan, known(alone.value, plan.trainings, '--train: there is no run'), seed, settings)
            return
        if workers.value and len(plan.trainings) > 1:
            this = [sys.executable, '-m', f'experiments.{paper.name}', *without(sys.argv[1:], 'seed'), '--child']
            ensure_all(plan, needed(plan, wanted), seeds.value, settings, workers.value, this)
        filled = fill(plan, wanted, seeds.value, settings, lambda text: print(text, flush=True))
        command = ' '.join(['python', '-m', f'experiments.{paper.name}', *sys.argv[1:]])
        path = report.write(paper, plan, filled, scale.value, seeds.value, settings.folder, command)
        print(f'{report.claims(paper, filled, seeds.value)}\nwrote {path}')

    return main


def without(arguments: list[str], flag: str) -> list[str]:
    """The arguments but for one flag, given as `--flag=value` or `--flag value`."""
    bare = (f'--{flag}', f'-{flag}')
    pairs = itertools.pairwise(['', *arguments])
    return [a for before, a in pairs if a.partition('=')[0] not in bare and before not in bare]


def chosen(plan: Plan, paper: Table, rows: list[str] | None, columns: list[str] | None) -> list[tuple[str, str]]:
    """The plan's cells of some rows and columns, in the paper's order.

    Raises:
        UserError: for a row or column that the table has not, or none that the plan fills.
    """
    for given, names, what in ((rows, paper.rows, 'row'), (columns, paper.columns, 'column')):
        for name in given or ():
            known(name, names, f'--{what}s: there is no {what}')
    wanted = [(r, c) for r in paper.rows for c in paper.columns if (r, c) in plan.cells]
    wanted = [(r, c) for r, c in wanted if (rows is None or r in rows) and (columns is None or c in columns)]
    if not wanted:
        raise UserError('none of these cells is filled at this scale')
    return wanted


def finished(given: list[str], plan: Plan) -> dict[str, Path]:
    """The finished runs that the command line names.

    Raises:
        UserError: for another form, or a name that the plan has not.
    """
    found = {}
    for text in given:
        name, equals, folder = text.partition('=')
        if not equals:
            raise UserError(f'--given={text}: the form is NAME=FOLDER')
        found[known(name, plan.trainings, '--given: there is no run')] = Path(folder)
    return found


def known(name: str, names: Iterable[str], otherwise: str) -> str:
    """The name.

    Raises:
        UserError: if it is none of them.
    """
    if name not in names:
        raise UserError(f'{otherwise} {name!r}; {nearest(name, names)}')
    return name
