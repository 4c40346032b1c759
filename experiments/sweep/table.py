"""The results of a sweep as one table: results.csv, results.md, results.png, and results.html of the two."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from diffusion_jax.pages import html
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath
from experiments.running.locks import PATIENCE, locked
from experiments.running.measuring import Measured
from experiments.running.tables import label, markdown
from experiments.running.training import Training, result_of, state_of

_LINES = 10  # of one panel; with more of them a legend hides the points
_WIDE = 30.0  # a ratio of largest to smallest from which an axis is logarithmic


class Row(NamedTuple):
    """One run: `values` and `protocol` are empty unless it was measured."""

    overrides: Mapping[str, Any]
    name: str  # of its workdir
    values: Mapping[str, float] = {}
    protocol: Mapping[str, Any] = {}
    diverged: str | None = None  # why
    error: str | None = None  # why it failed

    @property
    def state(self) -> str:
        """One word."""
        said = {'done': self.values, 'diverged': self.diverged, 'failed': self.error}
        return next((word for word, holds in said.items() if holds), 'unfinished')

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state in ('done', 'diverged')


def rows(trainings: Iterable[Training]) -> list[Row]:
    """One row for each run, in order."""
    return [_row(training) for training in trainings]


def _row(training):
    state, found = state_of(training.workdir), result_of(training.workdir) or Measured({}, {})
    diverged = state.diverged or found.diverged
    return Row(training.overrides, training.workdir.name, found.values, found.protocol, diverged, state.error)


def write(workdir: AnyPath, trainings: Iterable[Training]) -> list[Row]:
    """Writes these files, one process at a time, and returns what is in them."""
    with locked(workdir / 'results', PATIENCE):
        made = rows(trainings)
        _write(workdir, made)
    return made


def _write(workdir, made):
    files.write_text(workdir / 'results.csv', to_csv(made))
    files.write_text(workdir / 'results.md', to_markdown(made))
    if any(row.values for row in made) and fields(made):
        picture = io.BytesIO()
        draw(made).savefig(picture, dpi=110, bbox_inches='tight')
        (workdir / 'results.png').write_bytes(picture.getvalue())
    html.beside(workdir / 'results.md', ['results.png'])


def describe(row: Row) -> str:
    """A row in a few words."""
    if row.values:
        name, value = next(iter(row.values.items()))
        return f'{name} {value:.4g}'
    why = row.diverged or row.error
    return f'{row.state}: {why}' if why else row.state


def fields(made: list[Row]) -> list[str]:
    """All fields that the runs set."""
    return list(dict.fromkeys(field for row in made for field in row.overrides))


def to_csv(made: list[Row]) -> str:
    """Every run with all that is known of it; specs and protocols as JSON."""
    names = _metrics(made)
    file = io.StringIO()
    out = csv.writer(file, lineterminator='\n')
    out.writerow(['run', *fields(made), 'state', *names, 'error', 'protocol'])
    for row in made:
        set_to = [_cell(row.overrides.get(field, '')) for field in fields(made)]
        values = [row.values.get(name, '') for name in names]
        protocol = json.dumps(row.protocol) if row.protocol else ''
        out.writerow([row.name, *set_to, row.state, *values, row.diverged or row.error or '', protocol])
    return file.getvalue()


def to_markdown(made: list[Row]) -> str:
    """One table; where runs were measured under several protocols, one for each, since such numbers do not compare."""
    protocols = _protocols(made)
    of = [protocols.index(row.protocol) if row.protocol in protocols else 0 for row in made]
    parts = []
    for i, protocol in enumerate(protocols or [{}]):
        mine = [(j, row) for j, (row, group) in enumerate(zip(made, of, strict=True)) if group == i]
        names = _metrics([row for _, row in mine])
        cells = []
        for j, row in mine:
            set_to = [label(row.overrides.get(field, '')) for field in fields(made)]
            values = [f'{row.values[name]:.4g}' if name in row.values else '' for name in names]
            if not row.values:
                values = [describe(row).replace('|', '/'), *values[1:]]
            cells.append([str(j), *set_to, *values])
        parts.append(markdown(['', *fields(made), *names], cells))
        if protocol:
            parts.append('Protocol: ' + ', '.join(f'{k} = {v}' for k, v in protocol.items()) + '.\n')
    return '\n'.join(parts)


def draw(made: list[Row]) -> Figure:
    """The first value against each field that varies; a line joins runs that differ in that field alone."""
    done = [row for row in made if row.values]
    varied = [field for field in fields(done) if len({label(row.overrides.get(field)) for row in done}) > 1]
    panels = varied or fields(done)[:1]
    figure = Figure(figsize=(4.5 * len(panels), 3.6))
    for field, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        _panel(axes, field, done, [other for other in panels if other != field])
    return figure


def _panel(axes, field, done, others):
    name = next(iter(done[0].values))
    set_to: list[Any] = [row.overrides.get(field) for row in done]
    numeric = all(type(x) in (int, float) for x in set_to)
    ticks: list[Any] = sorted(set(set_to)) if numeric else list(dict.fromkeys(label(x) for x in set_to))
    lines: dict[str, list[tuple[float, float]]] = {}
    for row, x in zip(done, set_to, strict=True):
        protocol = _protocols(done).index(row.protocol) + 1 if len(_protocols(done)) > 1 else ''
        rest = ', '.join(f'{o.rpartition(".")[2]}={label(row.overrides.get(o))}' for o in others)
        key = rest + (f' (protocol {protocol})' if protocol else '')
        lines.setdefault(key, []).append((x if numeric else ticks.index(label(x)), row.values.get(name, float('nan'))))
    for key, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), 'o-', label=key, alpha=0.8)
    if not numeric:
        axes.set_xticks(range(len(ticks)), ticks, rotation=20)
    elif ticks[0] > 0 and ticks[-1] / ticks[0] > _WIDE:
        axes.set_xscale('log')
    axes.set_xlabel(field)
    axes.set_ylabel(name)
    if 1 < len(lines) <= _LINES:
        axes.legend(fontsize='small')


def _metrics(made):
    return list(dict.fromkeys(name for row in made for name in row.values)) or ['result']


def _protocols(made):
    distinct = []
    for row in made:
        if row.values and row.protocol not in distinct:
            distinct.append(row.protocol)
    return distinct


def _cell(value):
    return value if type(value) in (int, float, str, bool) else json.dumps(value)
