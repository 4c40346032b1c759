"""Accuracies over the numbers of real rows and over seeds, as tables and a picture."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from diffusion_jax.workdir.paths import AnyPath
from experiments.augmentation.mixing import ALONE, REAL, SHIFTED, SHUFFLED
from experiments.running.tables import markdown

Results = Mapping[int, Mapping[int, Mapping[str, float]]]  # [n][seed][name]


class Cell(NamedTuple):
    """A mean over seeds, its standard error, and the half-width of its 95 % interval by Student's t."""

    mean: float
    error: float = np.nan  # NaN of one seed
    half_width: float = np.nan

    def __str__(self) -> str:
        return f'{self.mean:.3f}' if np.isnan(self.error) else f'{self.mean:.3f} ± {self.error:.3f}'

    @property
    def verdict(self) -> str:
        """'+' where the interval is above 0, '-' where it is below, '' else."""
        if self.mean - self.half_width > 0:
            return '+'
        return '-' if self.mean + self.half_width < 0 else ''


def over_seeds(of_seeds: Sequence[float]) -> Cell:
    """The mean of one value a seed."""
    from scipy.stats import t  # half a second to import

    n = len(of_seeds)
    if n < 2:
        return Cell(float(np.mean(of_seeds)))
    error = float(np.std(of_seeds, ddof=1) / np.sqrt(n))
    return Cell(float(np.mean(of_seeds)), error, float(t.ppf(0.975, n - 1)) * error)


def accuracy(results: Results, n: int, name: str) -> Cell:
    """Of a row of the table on n real rows."""
    return over_seeds([of[name] for of in results[n].values()])


def gain(results: Results, n: int, name: str, over: str) -> Cell:
    """How much more accurate it is than another, paired: seed by seed, on the same real rows from the same weights."""
    return over_seeds([of[name] - of[over] for of in results[n].values()])


def names_of(results: Results) -> list[str]:
    """The rows of the table, the controls last."""
    first = next(iter(next(iter(results.values())).values()))
    return [name for name in first if ': ' not in name]


def accuracies(results: Results) -> str:
    """Mean accuracy on held-out rows ± standard error over seeds."""
    rows = [[name, *(str(accuracy(results, n, name)) for n in results)] for name in names_of(results)]
    return markdown(['trained on', *(f'n = {n}' for n in results)], rows)


def gains(results: Results, over: str) -> str:
    """Paired gains over a row in points of per cent ± standard error, marked where the interval excludes 0."""
    rows = []
    for name in names_of(results):
        if name not in (over, SHUFFLED):
            cells = [gain(results, n, name, over) for n in results]
            rows.append([name, *(_points(cell) for cell in cells), _helps(results, cells)])
    return markdown([f'gain over {over}, points', *(f'n = {n}' for n in results), 'helps at'], rows)


def _points(cell):
    error = '' if np.isnan(cell.error) else f' ± {100 * cell.error:.1f}'
    return f'{100 * cell.mean:+.1f}{error} {cell.verdict}'.rstrip()


def _helps(results, cells):
    return ', '.join(str(n) for n, cell in zip(results, cells, strict=True) if cell.verdict == '+') or 'none'


def about(results: Results) -> str:
    """What generated rows are: labels kept and copies, means over seeds."""
    first = next(iter(next(iter(results.values())).values()))
    rows = [[name, *(str(accuracy(results, n, name)) for n in results)] for name in first if ': ' in name]
    return markdown(['generated', *(f'n = {n}' for n in results)], rows)


def draw(path: AnyPath, results: Results) -> None:
    """A PNG: accuracy and paired gain against n, with 95 % intervals over seeds; generated rows alone at the right."""
    names, ns = names_of(results), list(results)
    alone = [name for name in names if name.endswith(f' {ALONE}') and name != REAL]
    mixed = [name for name in names if name not in (REAL, SHUFFLED, *alone)]
    figure = Figure(figsize=(15, 5), layout='constrained')
    axes = figure.subplots(1, 3)
    for ax, shown, of, title, label in (
        (axes[0], [REAL, *mixed], lambda n, name: accuracy(results, n, name), 'real rows, and more', 'accuracy'),
        (axes[1], mixed, lambda n, name: gain(results, n, name, REAL), 'gain over real alone, paired', 'gain'),
        (axes[2], [REAL, *alone], lambda n, name: accuracy(results, n, name), 'generated rows alone', 'accuracy'),
    ):
        for i, name in enumerate(shown):
            # Side by side, that bars of one n can be told apart.
            at = [n * 1.03 ** (i - len(shown) / 2) for n in ns]
            cells = [of(n, name) for n in ns]
            style = {'color': 'black'} if name == REAL else {'color': 'grey'} if name == SHIFTED else {}
            errors = [0 if np.isnan(cell.error) else cell.error for cell in cells]
            ax.errorbar(at, [cell.mean for cell in cells], errors, marker='o', ms=3, capsize=3, label=name, **style)
        ax.set_xscale('log')
        ax.set_xticks(ns, [str(n) for n in ns])
        ax.minorticks_off()
        ax.set_xlabel('n, real labelled images')
        ax.set_ylabel(f'{label} on held-out images (bars: standard error over seeds)')
        ax.set_title(title)
        ax.legend(fontsize=8)
    axes[1].axhline(0, color='black', lw=0.8)
    with path.open('wb') as file:
        figure.savefig(file, dpi=100)
