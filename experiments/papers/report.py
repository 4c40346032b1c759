"""The table as markdown beside the paper's, its claims on our cells, curves, and samples."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from diffusion_jax.data import show
from diffusion_jax.pages import html
from diffusion_jax.workdir import files
from experiments.papers import drawing
from experiments.papers.plan import Plan
from experiments.papers.results import Results
from experiments.papers.table import Cells, Table, verdict
from experiments.running.tables import markdown

_SAYS = {True: 'holds', False: 'does not hold', 'open': 'open', None: 'not measured'}
_REDRAWS = 400
_MOST_ROWS = 40  # of samples in the picture


def of_seed(results: Results, seed: int) -> Cells:
    """The cells of one seed."""
    return {cell: entries[seed].value for cell, entries in results.entries.items() if seed in entries}


def means(results: Results) -> Cells:
    """The cells, averaged over seeds; unstable if one of them was."""
    return {cell: float(np.mean([e.value for e in entries.values()])) for cell, entries in results.entries.items()}


def number(value: float | None, spread: float = 0.0) -> str:
    """A cell's text."""
    if value is None:
        return ''
    if not np.isfinite(value):
        return 'unstable'
    return f'{value:.4g}' + (f' ± {spread:.2g}' if spread else '')


def table(paper: Table, results: Results) -> str:
    """Paper's and our cells beside each other, as markdown; ± as `_spread` has it."""
    ours_of = _metric_of(paper, results)
    columns = [c for c in paper.columns if any((r, c) in {**paper.cells, **results.entries} for r in paper.rows)]
    head = [text for c in columns for text in (f'{paper.across} {c}, paper', f'{paper.across} {ours_of(c)}, ours')]
    lines = []
    for row in paper.rows:
        texts = [row]
        for column in columns:
            values = [e.value for e in results.entries.get((row, column), {}).values()]
            spread = _spread(values, [e.error for e in results.entries.get((row, column), {}).values()])
            ours = float(np.mean(values)) if values else None
            texts += [number(paper.cells.get((row, column))), number(ours, spread)]
        lines.append(texts)
    return markdown(['', *(text.strip() for text in head)], lines)


def _metric_of(paper, results):
    """What a column of ours is called: by its own metric, where the paper's columns are metrics."""
    if paper.across:
        return lambda column: column
    metrics = {
        column: e.metric for (_, column), by_seed in results.entries.items() for e in by_seed.values() if e.metric
    }
    return lambda column: metrics.get(column) or column


def points(paper: Table, results: Results) -> drawing.Points:
    """Our cells for the picture, with the errors of the table."""
    drawn = {}
    for (row, column), by_seed in results.entries.items():
        entries = list(by_seed.values())
        values = [e.value for e in entries]
        metric = next((e.metric for e in entries if e.metric), '') or paper.metric or column
        drawn[row, column] = drawing.Point(float(np.mean(values)), _spread(values, [e.error for e in entries]), metric)
    return drawn


def floors(results: Results) -> dict[str, float]:
    """What held-out data have, by metric, where all data sets of the table have one."""
    found: dict[str, list[float]] = {}
    for entry in results.floors.values():
        if entry is not None:
            found.setdefault(entry.metric, []).append(entry.value)
    return {metric: values[0] for metric, values in found.items() if len(values) == 1}


def _spread(values, errors):
    """The standard deviation over seeds, or for one seed the standard error."""
    if not values or not np.isfinite(values).all():
        return 0.0
    return float(np.std(values, ddof=1)) if len(values) > 1 else errors[0]


def claims(paper: Table, results: Results, seeds: Sequence[int]) -> str:
    """Every claim on the paper's numbers and on ours, as markdown.

    Ours are judged seed by seed, in redraws of every cell within its standard error: a claim is open that neither holds
    nor fails in 95 % of them.
    """
    lines = []
    for claim in paper.claims:
        said = [verdict(claim, cells) for seed in seeds for cells in redraws(results, seed)]
        known = [v for v in said if v is not None]
        share = float(np.mean(known)) if known else None
        ours = None if share is None else True if share >= 0.95 else False if share <= 0.05 else 'open'
        shown = '' if share is None else f'{share:.0%}'
        theirs = verdict(claim, paper.cells)
        said_there = 'no numbers' if theirs is None else _SAYS[theirs]
        lines.append([claim.text, said_there, _SAYS[ours], shown])
    return markdown(["the paper's claim", 'on its own numbers', 'on ours', 'share of redraws'], lines)


def redraws(results: Results, seed: int) -> list[Cells]:
    """The cells of one seed with normal noise of their standard errors; the cells themselves where none has any."""
    cells, rng = of_seed(results, seed), np.random.default_rng(0)
    errors = {cell: results.entries[cell][seed].error for cell in cells}
    n = _REDRAWS if any(errors.values()) else 1
    return [{cell: value + errors[cell] * rng.normal() for cell, value in cells.items()} for _ in range(n)]


def comparable(paper: Table, results: Results) -> bool:
    """Whether every cell of ours was measured as the paper's were."""
    entries = [e for by_seed in results.entries.values() for e in by_seed.values() if e.metric]
    if paper.source.standard is None or not entries:
        return False
    metric, n, reference = paper.source.standard
    return all(
        e.metric == metric and e.protocol['n'] == n and e.protocol['reference'].startswith(reference) for e in entries
    )


def differences(paper: Table, results: Results) -> str:
    """Ours less the paper's, where both are measured alike; else why they are not compared."""
    if not comparable(paper, results):
        return 'Paper and ours are different measurements: only orderings can be compared, not numbers.\n'
    ours = means(results)
    shared = [cell for cell in paper.cells if cell in ours and np.isfinite([ours[cell], paper.cells[cell]]).all()]
    lines = [f'{row}, {column}: {ours[row, column] - paper.cells[row, column]:+.3g}' for row, column in shared]
    return 'Ours less the paper: ' + '; '.join(lines) + '.\n'


def protocols(results: Results) -> str:
    """Every metric of ours with its protocol; what differs between its cells is left to the table."""
    kept: dict[str, dict[str, Any]] = {}
    for entry in (e for by_seed in results.entries.values() for e in by_seed.values() if e.metric):
        kept.setdefault(entry.metric, {k: v for k, v in entry.protocol.items() if k not in ('seeds', 'standard error')})
    lines = [f'- {metric}: {", ".join(f"{k} = {v}" for k, v in p.items())}.' for metric, p in kept.items()]
    floors = [f'{name}: {e.value:.4g} (n = {e.protocol["n"]})' for name, e in results.floors.items() if e is not None]
    if floors:
        lines.append(f'- Held-out data in place of samples, against {"; ".join(floors)}.')
    return '\n'.join(lines) + '\n'


def costs(results: Results) -> str:
    """CPU time."""
    measuring = sum(results.seconds.values()) / 60
    parts = [f'{name} {minutes:.1f}' for name, minutes in results.minutes.items()]
    trained = f'training {", ".join(parts)} (together {sum(results.minutes.values()):.1f}), ' if parts else ''
    return f'Cost in CPU minutes: {trained}sampling and measuring {measuring:.1f}.'


class Command(NamedTuple):
    """What was asked for."""

    scale: str
    seeds: Sequence[int]
    workdir: Path
    text: str  # as it was typed


def write(name: str, paper: Table, plan: Plan, results: Results, command: Command) -> Path:
    """Writes NAME.md, NAME.png and, for images, NAME_samples.png; returns the first."""
    scale, seeds, workdir, typed = command
    ran = files.provenance()
    versions = ', '.join(f'{k} {v}' for k, v in ran['versions'].items() if k in ('jax', 'flax', 'numpy'))
    shown = draw_samples(workdir / f'{name}_samples.png', paper, results, seeds)
    drawing.draw(workdir / f'{name}.png', paper, points(paper, results), floors(results))
    losses = draw_losses(workdir / f'{name}_losses.png', results.workdirs)
    text = f"""# {paper.source.title}, at scale {scale}

Paper: arXiv {paper.source.arxiv}; {paper.source.protocol}. Ours: {plan.data}. {plan.differs}

{table(paper, results)}
± is the standard deviation over seeds, or with one seed the standard error of the samples drawn, not of training.
{differences(paper, results)}
{protocols(results)}
## Does what the paper claims hold here?

{claims(paper, results, seeds)}
Open is what neither holds nor fails in 95 % of redraws of our cells within their standard errors.

![values, errors, held-out data]({name}.png)
{f'![the same noises in every cell]({name}_samples.png)' if shown else ''}
{f'![loss of every run]({name}_losses.png)' if losses else ''}

Command: `{typed}`. Seeds: {', '.join(map(str, seeds))}, of training and of sampling.
{costs(results)}
Machine: {platform.machine()}, {os.cpu_count()} cores, {', '.join(ran['devices'])}. Versions: {versions}.
Commit: {ran['git']}.
"""
    path = workdir / f'{name}.md'
    files.write_text(path, text)
    html.beside(path)
    return path


def draw_losses(path: Path, workdirs: Mapping[tuple[str, int], Path]) -> bool:
    """The training loss of every run of the first seed; whether there was any to draw."""
    first: dict[str, Path] = {}
    for (name, _), workdir in workdirs.items():
        first.setdefault(name, workdir)
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    for name, workdir in first.items():
        points = losses(workdir / 'metrics.jsonl')
        if points:
            axes.plot(*zip(*points, strict=True), label=name)
    if not axes.lines:
        return False
    axes.set_yscale('log')
    axes.set_xlabel('training step')
    axes.set_title('loss (of different objectives: compare shapes)')
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=90, bbox_inches='tight')
    return True


def losses(path: Path) -> list[tuple[int, float]]:
    """Steps and losses of a run's metrics.jsonl."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row['step'], row['loss']) for row in rows if 'loss' in row]


def draw_samples(path: Path, paper: Table, results: Results, seeds: Sequence[int]) -> bool:
    """The first samples of every cell that has images, of the first seed; whether there were any."""
    rows, seen = {}, set()
    for row in paper.rows:
        for column in paper.columns:
            entry = results.entries.get((row, column), {}).get(seeds[0])
            if entry is None or not len(entry.shown) or entry.shown.ndim != 4:
                continue
            if entry.shown.tobytes() not in seen:  # cells of one job
                seen.add(entry.shown.tobytes())
                rows[row if len(paper.columns) == 1 or not paper.across else f'{row}; {column}'] = entry.shown
    if rows:
        show.named_rows(path, dict(list(rows.items())[:_MOST_ROWS]))
    return bool(rows)
