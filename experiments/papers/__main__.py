r"""Fills a paper's table: trains what its cells need, measures each once, and writes WORKDIR/NAME.md.

    python -m experiments.papers NAME --scale=mini --workdir=runs/NAME
    python -m experiments.papers NAME --scale=paper --workdir=runs/NAME --data_dir=DIR --features=inception:path=FILE

Started again it goes on; started twice the two share the runs. experiments/papers/README.md says what each table claims
and costs.
"""

import itertools
import sys
from collections.abc import Iterable
from pathlib import Path

from absl import flags

from diffusion_jax import cli
from diffusion_jax.builders import specs
from diffusion_jax.errors import UserError, nearest
from diffusion_jax.workdir import files, paths
from experiments import papers
from experiments.papers import report
from experiments.papers.plan import SCALES, Files, Plan, Settings, needed, training_of
from experiments.papers.results import measure_all, train_all
from experiments.papers.table import Table
from experiments.running import queue

__doc__ = '\n'.join([f'{__doc__}\nTables:', *(f'  {name}: {papers.heading(name)}' for name in papers.NAMES)])

_TABLE = flags.DEFINE_string('table', None, 'The NAME of the table, or the dotted one of a package of yours.')
_SCALE = flags.DEFINE_enum('scale', 'mini', SCALES, 'mini: minutes to an hour on 2 cores; paper: its own setting.')
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder of the runs and of the table; where there is one run, its own.', required=True
)
_NUM = flags.DEFINE_integer('num', None, "Samples a cell. Default: the scale's.", lower_bound=2)
_SEEDS = flags.DEFINE_multi_integer('seed', [0], 'Seed of training and of sampling, once for every replicate.')
_ROWS = flags.DEFINE_list('rows', None, 'Rows to fill. Default: all.')
_COLUMNS = flags.DEFINE_list('columns', None, 'Columns to fill. Default: all.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of tensorflow-datasets.')
_LPIPS = flags.DEFINE_list('lpips', None, 'VGG16.pth,LIN.pth: the two files of LPIPS, see configs/cifar10_cd.py.')
_FEATURES = flags.DEFINE_string('features', None, "e.g. inception:path=FILE. Default: each run's own eval.features.")
_GIVEN = flags.DEFINE_multi_string('given', [], 'NAME=WORKDIR: a finished run in place of one of the table.')
_WORKERS = flags.DEFINE_integer(
    'workers', 0, 'Trainings at a time, each in a process of its own; 0: one after the other, in this one.', 0
)
_TRAIN = flags.DEFINE_string('train', None, 'Train this run alone, its teacher being there, and measure nothing.')
_CHILD = flags.DEFINE_bool('child', False, 'End when standard input does: set for the processes that a table starts.')


def main() -> None:
    """The entry point."""
    if _TABLE.value is None:
        raise UserError('which table? The form is: python -m experiments.papers NAME --workdir=DIR; see --help')
    name = papers.known(_TABLE.value)
    paper, plan, seeds = papers.table_of(name), papers.plan_of(name, _SCALE.value), _SEEDS.value
    if _LPIPS.value is not None and len(_LPIPS.value) != 2:
        raise UserError('--lpips: the form is VGG16.pth,LIN.pth')
    wanted = chosen(plan, paper, _ROWS.value, _COLUMNS.value)
    settings = Settings(
        paths.local(_WORKDIR.value),
        _NUM.value or plan.num,
        specs.parse_spec(_FEATURES.value) if _FEATURES.value else None,
        Files(_DATA_DIR.value, *(_LPIPS.value or (None, None))),
        finished(_GIVEN.value, plan),
    )
    if _TRAIN.value:
        run = known(_TRAIN.value, plan.recipes, '--train: there is no run')
        for seed in seeds:
            queue.make_one(training_of(plan, settings, run, seed), None, _CHILD.value)
        return
    command = ['-m', 'diffusion_jax', 'papers', *without(sys.argv[1:], 'seed'), '--child']
    train_all(plan, needed(plan, wanted), seeds, settings, _WORKERS.value, command)
    results = measure_all(plan, wanted, seeds, settings, lambda text: print(text, flush=True))
    path = report.write(name, paper, plan, results, report.Command(_SCALE.value, seeds, settings.workdir, _typed()))
    print(f'{report.claims(paper, results, seeds)}\nwrote {path}')


def _typed():
    return ' '.join(['python', '-m', 'experiments.papers', *(a.removeprefix('--table=') for a in sys.argv[1:])])


def with_flag(arguments: list[str]) -> list[str]:
    """The arguments of the command line, its NAME as a flag."""
    if arguments and not arguments[0].startswith('-'):
        return [f'--table={arguments[0]}', *arguments[1:]]
    return arguments


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
        UserError: for another form, a name that the plan has not, or a folder that holds no run.
    """
    found = {}
    for text in given:
        name, equals, workdir = text.partition('=')
        if not equals:
            raise UserError(f'--given={text}: the form is NAME=WORKDIR')
        found[known(name, plan.recipes, '--given: there is no run')] = paths.local(workdir)
        files.load_config(paths.local(workdir))
    return found


def known(name: str, names: Iterable[str], otherwise: str) -> str:
    """The name.

    Raises:
        UserError: if it is none of them.
    """
    if name not in names:
        raise UserError(f'{otherwise} {name!r}; {nearest(name, names)}')
    return name


if __name__ == '__main__':
    sys.argv[1:] = with_flag(sys.argv[1:])
    cli.run(main)
