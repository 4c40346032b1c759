"""A table as a picture: the paper's panel and ours, every value with its error, held-out data as a line."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.papers.table import Cells, Table

_LOG = 3.0  # of a largest value by the least from which an axis is logarithmic


class Point(NamedTuple):
    """What is drawn of a cell."""

    value: float
    error: float  # 0 where none is known
    metric: str


Points = Mapping[tuple[str, str], Point]  # (row, column) -> point


class Panel(NamedTuple):
    """One metric of the paper's or of ours."""

    title: str
    metric: str
    points: Points


def draw(path: Path, paper: Table, ours: Points, floors: Mapping[str, float]) -> None:
    """Curves over columns that are numbers; else a line of points for each row, the columns in colours.

    Args:
        path: of the PNG.
        paper: the table; its own cells are drawn without errors, as papers give them.
        ours: measured cells; those that are not finite are left out.
        floors: by metric, what held-out data have in place of samples.
    """
    shown = [*_panels(f'paper: {paper.source.title}', paper, _without_errors(paper.cells, paper))]
    shown += _panels('ours', paper, {cell: point for cell, point in ours.items() if np.isfinite(point.value)})
    curves = bool(paper.across) and len(paper.columns) > 2 and all(map(_is_number, paper.columns))
    lines = paper.rows if curves else paper.columns
    colours = dict(zip(lines, matplotlib.colormaps['tab10'](np.arange(len(lines)) % 10), strict=True))
    across, down = min(len(shown), 2), math.ceil(len(shown) / 2)
    height = 3.8 if curves else 1.2 + 0.34 * len(paper.rows)
    figure = Figure(figsize=(5.5 * across, height * down + 0.6), layout='constrained')
    for i, panel in enumerate(shown):
        axes = figure.add_subplot(down, across, i + 1)
        if curves:
            _curves(axes, paper, panel, colours)
        else:
            _rows(axes, paper, panel, colours, named=i % 2 == 0)
        axes.set_title(panel.title, fontsize=10)
        axes.grid(alpha=0.3)
        if panel.metric in floors:
            line = axes.axhline if curves else axes.axvline
            line(floors[panel.metric], color='grey', linestyle='--', label='held-out data')
    handles = {label: h for a in figure.axes for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc='outside lower center', ncols=4, fontsize=9)
    figure.savefig(path, dpi=90)


def _without_errors(cells: Cells, paper: Table) -> Points:
    return {
        (row, column): Point(v, 0.0, paper.metric or column) for (row, column), v in cells.items() if np.isfinite(v)
    }


def _panels(title: str, paper: Table, points: Points) -> list[Panel]:
    """One for each metric."""
    metrics = dict.fromkeys(
        points[cell].metric for cell in sorted(points, key=lambda cell: paper.columns.index(cell[1]))
    )
    return [Panel(title, m, {cell: point for cell, point in points.items() if point.metric == m}) for m in metrics]


def _is_number(text: str) -> bool:
    return text.replace('.', '', 1).isdigit()


def _measured(paper: Table, panel: Panel) -> list[str]:
    """Columns that have a point."""
    return [column for column in paper.columns if any((row, column) in panel.points for row in paper.rows)]


def _curves(axes: Axes, paper: Table, panel: Panel, colours) -> None:
    for row in paper.rows:
        columns = [column for column in paper.columns if (row, column) in panel.points]
        x = [float(column) for column in columns]
        y, errors = _values(panel.points[row, column] for column in columns)
        if columns:
            axes.errorbar(x, y, errors, fmt='o-', capsize=3, markersize=4, color=colours[row], label=row)
    axes.set_xlabel(paper.across.rstrip(':= '))
    axes.set_ylabel(panel.metric)
    axes.set_xscale('log')
    measured = _measured(paper, panel)
    axes.set_xticks([float(column) for column in measured], measured, fontsize=8, rotation=45)
    axes.xaxis.set_minor_formatter(NullFormatter())
    _plain(axes, panel, axes.set_yscale, axes.yaxis)


def _rows(axes: Axes, paper: Table, panel: Panel, colours, named: bool) -> None:
    """The first row on top; columns a little below each other."""
    measured = _measured(paper, panel)
    for i, column in enumerate(measured):
        rows = [j for j, row in enumerate(paper.rows) if (row, column) in panel.points]
        x, errors = _values(panel.points[paper.rows[j], column] for j in rows)
        y = np.array(rows) + 0.18 * (i - (len(measured) - 1) / 2)
        label = f'{paper.across.rstrip(":= ")} {column}'.strip() if paper.across else None
        axes.errorbar(x, y, xerr=errors, fmt='o', capsize=3, markersize=5, color=colours[column], label=label)
    axes.set_yticks(range(len(paper.rows)), paper.rows if named else [''] * len(paper.rows), fontsize=9)
    axes.set_ylim(len(paper.rows) - 0.5, -0.5)
    axes.set_xlabel(panel.metric)
    _plain(axes, panel, axes.set_xscale, axes.xaxis)


def _values(points) -> tuple[Sequence[float], Sequence[float]]:
    points = list(points)
    return [p.value for p in points], [p.error for p in points]


def _plain(axes: Axes, panel: Panel, set_scale, axis) -> None:
    """A logarithmic axis where values differ much, its numbers written out."""
    values = [point.value for point in panel.points.values()]
    if min(values) > 0 and max(values) > _LOG * min(values):
        set_scale('log')
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
