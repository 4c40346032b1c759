r"""Table and plot of `python -m experiments.solvers`.

python -m experiments.solvers.report --workdir=runs/solvers --image=docs/images/solvers.png
"""

import json

import matplotlib.pyplot as plt
from absl import flags

from diffusion_jax import cli
from diffusion_jax.errors import UserError
from diffusion_jax.workdir import paths
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the results.', required=True)
_IMAGE = flags.DEFINE_string('image', None, 'Where the plot goes.', required=True)
_EVALUATIONS = (4, 6, 8, 12, 20, 40)
_SEARCHED = ('searched', 'retimed')
_LABELS = {'diffusers': 'diffusers, best', 'k-diffusion': 'k-diffusion, best', 'ours': 'ours by hand, best'}


def main() -> None:
    """The entry point."""
    found = paths.local(_WORKDIR.value).glob('*.json')
    files = sorted(found, key=lambda path: (int(path.stem.split('_')[0]), path.stem))
    if not files:
        raise UserError(f'{_WORKDIR.value} holds no results')
    results = {path.stem.replace('_', ' dimensions, '): json.loads(path.read_text()) for path in files}
    for name, rows in results.items():
        print(_table(name, rows))
        print(_by_solver(rows))
    columns = (len(results) + 1) // 2
    figure, axes = plt.subplots(2, columns, figsize=(4.5 * columns, 7), squeeze=False)
    for ax, (name, rows) in zip(axes.flat, results.items(), strict=False):
        _plot(ax, name, rows)
    for ax in axes.flat[len(results) :]:
        ax.axis('off')
    figure.tight_layout()
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), fontsize=8, loc='upper center', bbox_to_anchor=(0.5, 0), ncol=4
    )
    figure.savefig(_IMAGE.value, dpi=90, bbox_inches='tight')


def _family(row):
    return row['solver'].split()[0] if row['who'] == 'peer' else row['who']


def _best(rows, family, evaluations):
    """The least error of a family with at most so many evaluations."""
    fit = [row for row in rows if _family(row) == family and row['evaluations'] <= evaluations]
    return min(fit, key=lambda row: row['error'], default=None)


def _table(name, rows):
    head = ['evaluations', 'diffusers', 'k-diffusion', 'ours by hand', 'ours, grid searched', 'and model times']
    families = (*_LABELS, *_SEARCHED)
    cells = [[str(n), *(_cell(_best(rows, family, n), n) for family in families)] for n in _EVALUATIONS]
    return f'### {name}\n\n{markdown(head, cells)}'


def _by_solver(rows):
    """Each of our solvers on the best of its grids by hand."""
    lines = []
    for solver in dict.fromkeys(row['solver'] for row in rows if row['who'] == 'ours'):
        of_it = [row for row in rows if row['who'] == 'ours' and row['solver'] == solver]
        best = (_best(of_it, 'ours', n) for n in _EVALUATIONS)
        lines.append([solver, *('' if b is None else f'{b["error"]:.3g}' for b in best)])
    return markdown(['ours by hand', *map(str, _EVALUATIONS)], lines)


def _cell(row, n):
    if row is None or (row['who'] in _SEARCHED and row['evaluations'] != n):
        return ''
    what = row['solver'].split(' ', 1)[1] if row['who'] == 'peer' else row['solver']
    grid = row['grid'] if row['who'] == 'ours' else ''
    return f'{row["error"]:.3g} ({" ".join(filter(None, (what, grid)))})'


def _plot(ax, name, rows):
    for family, label in _LABELS.items():
        best = [_best(rows, family, n) for n in _EVALUATIONS]
        shown = [(n, row['error']) for n, row in zip(_EVALUATIONS, best, strict=True) if row]
        if shown:
            ax.loglog(*zip(*shown, strict=True), 'o-', label=label)
    for row in (row for row in rows if row['who'] in _SEARCHED):
        colour = {'dpm_solver_pp 3': 'k', 'deis 3': 'r', 'unipc 3': 'm'}[row['solver']]
        marker, what = ('*', 'grid') if row['who'] == 'searched' else ('P', 'grid, model times')
        label = f'ours, {what} searched, {row["solver"]}'
        ax.loglog(row['evaluations'], row['error'], colour + marker, ms=10, label=label)
    ax.set(title=name, xlabel='evaluations', ylabel='distance to the exact end point')
    ax.set_xticks(_EVALUATIONS, [str(n) for n in _EVALUATIONS], minor=False)
    ax.minorticks_off()
    ax.grid(alpha=0.3)


if __name__ == '__main__':
    cli.run(main)
