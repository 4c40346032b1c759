"""Map errors against the budget: a table, and a picture with fitted powers of the number of training steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.running.tables import markdown

# (method, sampler and evaluations) -> training steps -> a cell for every seed
Results = dict[tuple[str, str], dict[int, list[Mapping[str, float]]]]
_METRICS = (('map error', 4), ('sliced Wasserstein', 4), ('seconds', 0))
_PANELS = 12  # methods in one panel that can still be told apart


class Power(NamedTuple):
    """error ~ steps^exponent, by least squares on the logarithms; the standard error is that of the slope."""

    exponent: float
    error: float


def fit(cells: Mapping[int, list[Mapping[str, float]]], metric: str) -> Power | None:
    """The power of the budget that the means over seeds follow; None for fewer than three budgets or no such metric."""
    steps = [k for k, values in cells.items() if all(metric in v for v in values)]
    if len(steps) < 3:
        return None
    errors = [np.mean([v[metric] for v in cells[k]]) for k in steps]
    line, covariance = np.polyfit(np.log(steps), np.log(errors), 1, cov=True)
    return Power(float(line[0]), float(np.sqrt(covariance[0, 0])))


def table(results: Results) -> str:
    """Rows of method and sampler; mean and standard deviation over seeds at each budget, and the fitted exponent."""
    budgets = sorted({k for cells in results.values() for k in cells})
    several = len(budgets) > 1
    names = {'map error': 'map error', 'sliced Wasserstein': 'sliced Wasserstein', 'seconds': 'training, CPU s'}
    columns = [(name, digits, k) for name, digits in _METRICS for k in budgets]
    head = [f'{names[name]}, {k} steps' if several else names[name] for name, _, k in columns]
    lines = []
    for (method, sampling), cells in results.items():
        texts = [_mean_and_spread([v[name] for v in cells.get(k, ()) if name in v], n) for name, n, k in columns]
        power = fit(cells, 'map error')
        fitted = [f'{power.exponent:.2f} ± {power.error:.2f}' if power else ''] if several else []
        lines.append([method, sampling, *texts, *fitted])
    return markdown(['method', 'sampler, evaluations', *head, *(['exponent of map error'] if several else [])], lines)


def draw(path: Path, results: Results) -> None:
    """One-step map errors against training steps, error bars over seeds, a panel for every dozen methods."""
    shown = {
        method: cells
        for (method, sampling), cells in results.items()
        if sampling.endswith(', 1') and any('map error' in v for values in cells.values() for v in values)
    }
    names = sorted(shown, key=lambda name: _last(shown[name]))
    groups = [names[i : i + _PANELS] for i in range(0, len(names), _PANELS)]
    figure = Figure(figsize=(6.5 * len(groups), 5.5), layout='constrained')
    for axes, group in zip(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0], groups, strict=True):
        for i, name in enumerate(group):
            steps = sorted(shown[name])
            errors = [[v['map error'] for v in shown[name][k]] for k in steps]
            power = fit(shown[name], 'map error')
            label = f'{name} ({power.exponent:+.2f})' if power else name
            style = {'marker': 'os^vD*'[i % 6], 'color': f'C{i % 10}', 'linestyle': '-' if i < 10 else '--'}
            axes.errorbar(
                steps, [np.mean(e) for e in errors], [np.std(e) for e in errors], label=label, capsize=3, **style
            )
        axes.set(xscale='log', yscale='log', xlabel='training steps')
        axes.set_xticks(steps, [str(k) for k in steps])
        axes.minorticks_off()
        axes.legend(fontsize='small', title='method (fitted exponent)')
        axes.grid(alpha=0.3)
        axes.set_ylabel('mean distance to the exact map, one step')
    figure.savefig(path, dpi=130)


def _last(cells):
    return np.mean([v['map error'] for v in cells[max(cells)]])


def _mean_and_spread(values, digits):
    return f'{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}' if values else ''
