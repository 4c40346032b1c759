"""All applications on one page: one table over all of them, and what each left."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from diffusion_jax.pages import html
from diffusion_jax.workdir import files
from experiments.applications.application import Application, Asked
from experiments.applications.jobs import states
from experiments.applications.readings import Judged
from experiments.running.tables import markdown

HEAD = (
    'application',
    'data',
    'judge',
    'real held-out data',
    'model',
    'network evaluations',
    'quality',
    'CPU min',
)
_LINES = 12  # of a text that is shown
_ADDRESS = re.compile(r'(\]\()(?!\w+:|#)([^)\s]+)(\))')


class Outcome(NamedTuple):
    """An application by now."""

    asked: Asked
    jobs: Sequence[str]  # their commands
    rows: Sequence[Judged]  # of the overview
    failed: str | None = None  # why
    left_out: str | None = None  # why


Outcomes = Sequence[tuple[Application, Outcome]]


def write(workdir: Path, outcomes: Outcomes, share: float, typed: str) -> Path:
    """Writes applications.md and the page beside it, in which every file is that it shows; returns the page."""
    path = workdir / 'applications.md'
    files.write_text(path, text(workdir, outcomes, share, typed))
    return Path(html.beside(path, folded=folded(outcomes)))


def text(workdir: Path, outcomes: Outcomes, share: float, typed: str) -> str:
    """The report in markdown, whose addresses are relative to `workdir`."""
    parts = [
        '# Applications\n',
        _lengths(share),
        *_told('Failed', {a.name: o.failed for a, o in outcomes if o.failed}),
        *_told('Left out', {a.name: o.left_out for a, o in outcomes if o.left_out}),
        overview(outcomes),
        'Real held-out data, under the same judge, are what a perfect model would look like. Rows with the same judge '
        'can be compared, others cannot. ± is a standard error, over the samples of one training unless a table says '
        'otherwise. CPU minutes are those of the whole application.\n',
        *(section(workdir, application, outcome) for application, outcome in outcomes if not outcome.left_out),
        f'Command: `{typed}`. {_ran_on(outcomes)}\n',
    ]
    return '\n'.join(parts)


def _ran_on(outcomes: Outcomes) -> str:
    """By the first training that noted it: this process leaves the devices to its programs."""
    noted = (o.asked.workdir(run) / 'provenance.json' for a, o in outcomes for run in a.runs)
    ran = next((files.read_json(path, {}) for path in noted if path.exists()), {})
    if not ran:
        return ''
    versions = ', '.join(f'{k} {v}' for k, v in ran['versions'].items())
    return f'Commit: {ran["git"]}. {os.cpu_count()} cores, {", ".join(ran["devices"])}. Versions: {versions}.'


def _lengths(share: float) -> str:
    if share == 1:
        return 'Every training has the length of its config, every measurement its own number of samples.\n'
    return (
        f"**A try**: {share:.3g} of every training's length and of every number of samples. What was made here says "
        'whether all of it runs, and nothing of the methods.\n'
    )


def _told(title: str, reasons: Mapping[str, str | None]) -> list[str]:
    return [f'**{title}:**\n', *(f'- **{name}**: {reason}' for name, reason in reasons.items()), ''] if reasons else []


def overview(outcomes: Outcomes) -> str:
    """The table over all applications; one that has nothing to show yet, or failed before it had, has a row too."""
    rows = []
    for application, outcome in outcomes:
        if outcome.left_out:
            continue
        first = [f'[{application.name}](#{_anchor(application.title)})', application.data]
        minutes = _minutes(outcome)
        rows += [[*first, r.judge, r.real, r.model, r.evaluations, r.quality, minutes] for r in outcome.rows]
        if not outcome.rows:
            state = 'failed' if outcome.failed else 'nothing measured yet'
            rows.append([*first, '', '', state, '', '', minutes])
    return markdown(HEAD, rows)


def _minutes(outcome: Outcome) -> str:
    seconds = sum(state.seconds for state in states(outcome.asked.folder).values())
    return f'{seconds / 60:.3g}' if seconds else ''


def _anchor(title: str) -> str:
    """That of a heading, as GitHub and Python's markdown have it."""
    return re.sub(r'[\s-]+', '-', re.sub(r'[^\w\s-]', '', title.lower())).strip('-')


def section(workdir: Path, application: Application, outcome: Outcome) -> str:
    """An application: what judged it, what it left, and its tables as its programs wrote them."""
    asked = outcome.asked
    parts = [
        f'## {application.title}\n',
        f'{application.data[0].upper()}{application.data[1:]}. {application.judged}\n',
    ]
    if outcome.failed:
        parts.append(f'**Failed**: {outcome.failed}. The log is {asked.folder / "log.txt"}.\n')
    if asked.given:
        runs = ', '.join(f'{name} = {path}' for name, path in asked.given.items())
        parts.append(f'Trained elsewhere ({runs}): the minutes are those of measuring alone.\n')
    parts += [_medium(workdir, path) for path in application.media(asked)]
    for path in application.tables(asked):
        parts.append(placed(path.read_text(), os.path.relpath(path.parent, workdir)))
    return '\n'.join(parts)


def _medium(workdir: Path, path: Path) -> str:
    name = os.path.relpath(path, workdir)
    if path.suffix == '.txt':
        lines = [f'    {line}' for line in path.read_text(errors='replace').splitlines()[:_LINES]]
        return '\n'.join([f'{name}:\n', *lines, ''])
    picture = '' if path.suffix == '.wav' else '!'
    return f'{picture}[{name}]({quote(name)})\n'


def placed(text: str, folder: str) -> str:
    """A report as a part of one two levels above: its headings are lower, its addresses lead from there."""
    lower = re.sub(r'^(#{1,4}) ', r'##\1 ', text, flags=re.M)
    return _ADDRESS.sub(lambda found: f'{found[1]}{quote(folder)}/{found[2]}{found[3]}', lower)


def folded(outcomes: Outcomes) -> dict[str, str]:
    """What stands folded at the end of the page: commands, and the config of every run."""
    found = {}
    for application, outcome in outcomes:
        if outcome.jobs:
            found[f'{application.title}: commands'] = '\n'.join(outcome.jobs)
        for name in application.runs:
            config = outcome.asked.workdir(name) / 'config.json'
            if config.exists():
                found[f'{application.title}: config of {name}'] = config.read_text()
    return found
