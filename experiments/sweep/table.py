"""The results of a sweep as one table: results.csv, results.md and results.png."""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath
from experiments.sweep import result
from experiments.sweep.plan import Job, label
from experiments.sweep.taking import PATIENCE, taking

_LINES = 10  # of one panel; with more of them a legend hides the points
_WIDE = 30.0  # a ratio of largest to smallest from which an axis is logarithmic


class Row(NamedTuple):
    """One run: `values` and `protocol` are empty until it is done, `error` is None unless it failed."""

    job: Job
    values: dict[str, float]
    protocol: dict[str, Any]
    error: str | None

    @property
    def state(self) -> str:
        """One word."""
        return 'done' if self.values else 'failed' if self.error else 'unfinished'


def rows(jobs: Iterable[Job]) -> list[Row]:
    """One row for each run, in order."""
    read = [(job, result.read(job)) for job in jobs]
    return [Row(job, r.get('values', {}), r.get('protocol', {}), r.get('error')) for job, r in read]


def write(folder: AnyPath, jobs: Iterable[Job]) -> list[Row]:
    """Writes the three files, one process at a time, and returns what is in them."""
    with taking(folder / 'results', PATIENCE):
        made = rows(jobs)
        _write(folder, made)
    return made


def _write(folder, made):
    files.write_text(folder / 'results.csv', to_csv(made))
    files.write_text(folder / 'results.md', to_markdown(made))
    if any(row.values for row in made) and fields(made):
        picture = io.BytesIO()
        draw(made).savefig(picture, dpi=110, bbox_inches='tight')
        (folder / 'results.png').write_bytes(picture.getvalue())


def describe(row: Row) -> str:
    """A row in a few words."""
    if row.values:
        name, value = next(iter(row.values.items()))
        return f'{name} {value:.4g}'
    return f'{row.state}: {row.error}' if row.error else row.state


def fields(made: list[Row]) -> list[str]:
    """All fields that the runs set."""
    return list(dict.fromkeys(field for row in made for field in row.job.overrides))


def to_csv(made: list[Row]) -> str:
    """Every run with all that is known of it; specs and protocols as JSON."""
    names = _metrics(made)
    file = io.StringIO()
    out = csv.writer(file, lineterminator='\n')
    out.writerow(['run', *fields(made), 'state', *names, 'error', 'protocol'])
    for row in made:
        set_to = [_cell(row.job.overrides.get(field, '')) for field in fields(made)]
        values = [row.values.get(name, '') for name in names]
        protocol = json.dumps(row.protocol) if row.protocol else ''
        out.writerow([row.job.folder.name, *set_to, row.state, *values, row.error or '', protocol])
    return file.getvalue()


def to_markdown(made: list[Row]) -> str:
    """One table; where runs were measured under several protocols, one for each, since such numbers do not compare."""
    protocols = _protocols(made)
    of = [protocols.index(row.protocol) if row.protocol in protocols else 0 for row in made]
    parts = []
    for i, protocol in enumerate(protocols or [{}]):
        mine = [row for row, group in zip(made, of, strict=True) if group == i]
        names = _metrics(mine)
        parts += [_line(['', *fields(made), *names]), '|---' * (1 + len(fields(made)) + len(names)) + '|']
        for row in mine:
            set_to = [label(row.job.overrides.get(field, '')) for field in fields(made)]
            values = [f'{row.values[name]:.4g}' if name in row.values else '' for name in names]
            if not row.values:
                values = [describe(row).replace('|', '/'), *values[1:]]
            parts.append(_line([str(row.job.index), *set_to, *values]))
        if protocol:
            parts += ['', 'Protocol: ' + ', '.join(f'{k} = {v}' for k, v in protocol.items()) + '.']
        parts.append('')
    return '\n'.join(parts)


def draw(made: list[Row]) -> Figure:
    """The first value against each field that varies; a line joins runs that differ in that field alone."""
    done = [row for row in made if row.values]
    varied = [field for field in fields(done) if len({label(row.job.overrides.get(field)) for row in done}) > 1]
    panels = varied or fields(done)[:1]
    figure = Figure(figsize=(4.5 * len(panels), 3.6))
    for field, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        _panel(axes, field, done, [other for other in panels if other != field])
    return figure


def _panel(axes, field, done, others):
    name = next(iter(done[0].values))
    set_to: list[Any] = [row.job.overrides.get(field) for row in done]
    numeric = all(type(x) in (int, float) for x in set_to)
    ticks: list[Any] = sorted(set(set_to)) if numeric else list(dict.fromkeys(label(x) for x in set_to))
    lines: dict[str, list[tuple[float, float]]] = {}
    for row, x in zip(done, set_to, strict=True):
        protocol = _protocols(done).index(row.protocol) + 1 if len(_protocols(done)) > 1 else ''
        rest = ', '.join(f'{o.rpartition(".")[2]}={label(row.job.overrides.get(o))}' for o in others)
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


def _line(cells):
    return '| ' + ' | '.join(cells) + ' |'
