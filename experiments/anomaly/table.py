"""Verdicts over classes and seeds as tables and a picture."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from diffusion_jax.evaluation import anomaly
from diffusion_jax.workdir.paths import AnyPath
from experiments.anomaly.splits import NORMAL, SCRAMBLED
from experiments.running.tables import markdown

AUROC, PRECISION, HALVES, SCRAMBLES = 'AUROC', 'average precision', 'halves', 'scrambled'
COLUMNS = (AUROC, PRECISION, HALVES, SCRAMBLES)


class Cell(NamedTuple):
    """A mean over seeds, and its standard error: None of one seed."""

    mean: float
    error: float | None

    def __str__(self) -> str:
        return f'{self.mean:.3f}' if self.error is None else f'{self.mean:.3f} ± {self.error:.3f}'


def verdicts(scores: Mapping[str, Mapping[str, np.ndarray]], anomalies: str) -> dict[str, float]:
    """'METHOD: COLUMN' -> value, of scores by method and set.

    The two controls of the judge: the AUROC of one half of the normal rows against the other, 0.5 of any honest score,
    and that of normal rows against the same with all pixels in another order, near 1 of any score worth its name.
    """
    values = {}
    for name, of in scores.items():
        found = anomaly.judged(of[NORMAL], of[anomalies])
        half = len(of[NORMAL]) // 2
        row = {
            AUROC: found.auroc,
            PRECISION: found.average_precision,
            HALVES: anomaly.judged(of[NORMAL][::2][:half], of[NORMAL][1::2]).auroc,
            SCRAMBLES: anomaly.judged(of[NORMAL], of[SCRAMBLED]).auroc,
        }
        values |= {f'{name}: {column}': value for column, value in row.items()}
    return values


def over_seeds(of_seeds: Sequence[float]) -> Cell:
    """The mean of one value a seed."""
    n = len(of_seeds)
    return Cell(float(np.mean(of_seeds)), float(np.std(of_seeds, ddof=1) / np.sqrt(n)) if n > 1 else None)


def summary(results: Mapping[str, Mapping[int, Mapping[str, float]]], method: str, column: str) -> Cell:
    """A method's mean over comparisons, `results[comparison][seed]`, and over seeds; of seeds that all of them have."""
    seeds = set.intersection(*(set(of) for of in results.values()))
    means = [np.mean([of[seed][f'{method}: {column}'] for of in results.values()]) for seed in sorted(seeds)]
    return over_seeds([float(m) for m in means])


def methods_of(results: Mapping[str, Mapping[int, Mapping[str, float]]]) -> list[str]:
    """The names of the methods, by family."""
    first = next(iter(next(iter(results.values())).values()))
    return sorted(dict.fromkeys(key.rpartition(': ')[0] for key in first), key=_family)


def main_table(results: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """A row for each method: means over comparisons, `± standard error` over seeds."""
    rows = [[name, *(str(summary(results, name, column)) for column in COLUMNS)] for name in methods_of(results)]
    return markdown(['method', *COLUMNS], rows)


def by_comparison(results: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """AUROC of each method in each comparison, the mean over seeds."""
    cells = [
        [name, *(f'{over_seeds([v[f"{name}: {AUROC}"] for v in of.values()]).mean:.3f}' for of in results.values())]
        for name in methods_of(results)
    ]
    return markdown(['AUROC', *results], cells)


def draw(path: AnyPath, panels: Mapping[str, Mapping[str, Mapping[int, Mapping[str, float]]]]) -> None:
    """A PNG: a panel of bars for each group of comparisons, AUROC with its standard error over seeds."""
    names = methods_of(next(iter(panels.values())))
    figure = Figure(figsize=(5 + 4 * len(panels), 1.2 + 0.28 * len(names)), layout='constrained')
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, results) in zip(axes, panels.items(), strict=True):
        cells = [summary(results, name, AUROC) for name in names]
        errors = [cell.error or 0 for cell in cells]
        colours = [f'C{_family(name)}' for name in names]
        ax.barh(range(len(names)), [cell.mean for cell in cells], xerr=errors, color=colours, capsize=3)
        ax.axvline(0.5, color='grey', ls='--')
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel('AUROC (bars: standard error over seeds)')
        ax.set_title(title)
        ax.set_xlim(0, 1)
    axes[0].invert_yaxis()
    axes[0].set_ylabel('score')
    with path.open('wb') as file:
        figure.savefig(file, dpi=110)


def _family(name):
    families = ('DDIM', 'noised', 'one denoising', 'consistency', 'ODE')
    return next((i for i, start in enumerate(families) if name.startswith(start)), len(families))
