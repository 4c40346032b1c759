"""What the tables that programs wrote say of a model, of its judge, and of real data under that judge."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.running import tables


class Judged(NamedTuple):
    """A row of the overview: texts, as the tables have them."""

    judge: str
    real: str  # what the judge says of real held-out data
    model: str
    evaluations: str  # of the network, for one sample; empty where the table does not say
    quality: str


def of_table(
    path: Path, model: str, name: str, real: str, judges: Iterable[str], group: str = '', evaluations: str = ''
) -> list[Judged]:
    """The rows of the first table of a file that have evaluations, beside its row of real data.

    Args:
        path: of the file; one that is not there has no rows.
        model: what stands before the names of the rows.
        name: the column of the names.
        real: the name of the row of real data.
        judges: the columns of which each makes a row.
        group: a column; every row is compared with real data of the same cell in it.
        evaluations: the column that has them, by default 'network evaluations'.
    """
    if not path.exists():
        return []
    rows = tables.read(path.read_text())[0]
    of_real = {row.get(group, ''): row for row in rows if row[name] == real}
    return [
        Judged(
            f'{judge}, {row[group]}' if group else judge,
            of_real[row.get(group, '')][judge],
            f'{model}, {row[name]}',
            row[evaluations or 'network evaluations'],
            row[judge],
        )
        for judge in judges
        for row in rows
        if row[evaluations or 'network evaluations']
    ]


def of_fields(path: Path, model: str) -> list[Judged]:
    """Those of `experiments.fields`, whose table has steps; Heun evaluates twice a step, but for the last."""
    if not path.exists():
        return []
    (rows,) = tables.read(path.read_text())
    judges = ('spectrum, largest error', 'CRPS / exact')
    return [
        Judged(judge, rows[0][judge], f'{model}, {row["sampler"]}', _evaluations(row), row[judge])
        for judge in judges
        for row in rows[1:]
    ]


def _evaluations(row: Mapping[str, str]) -> str:
    steps = int(row['steps'])
    return str(2 * steps - 1 if row['sampler'].startswith('heun') else steps)


def of_quickstart(path: Path, evaluations: Iterable[str]) -> list[Judged]:
    """Those of `experiments.quickstart` of so many evaluations: Frechet distances; real data have a line below."""
    if not path.exists():
        return []
    text = path.read_text()
    rows = tables.read(text)[0]
    (judge,) = (head for head in rows[0] if head.startswith('Frechet'))
    floor = re.search(rf'^Floor, of .*?{re.escape(judge)} ([-+.\deE]+)', text, re.M)
    if floor is None:
        raise ValueError(f'no {judge} of held-out data')
    shown = [row for row in rows if row['network evaluations'] in evaluations]
    return [Judged(judge, floor[1].rstrip('.'), row[''], row['network evaluations'], row[judge]) for row in shown]


def of_anomaly(path: Path, methods: Iterable[str]) -> list[Judged]:
    """Those of `experiments.anomaly` of these methods; real data are one half against the other."""
    if not path.exists():
        return []
    found = []
    for title, rows in zip(_titles(path.read_text()), _main_tables(path.read_text()), strict=True):
        judge = f'AUROC, {title}'
        found += [Judged(judge, r['halves'], r['method'], '', r['AUROC']) for r in rows if r['method'] in methods]
    return found


def _titles(text):
    return re.findall(r'^## (.*)$', text, re.M)


def _main_tables(text):
    return [rows for rows in tables.read(text) if 'method' in rows[0]]


def of_augmentation(path: Path, methods: Iterable[str]) -> list[Judged]:
    """Those of `experiments.augmentation` of these methods, of the fewest and of the most rows.

    Real data are the same rows without anything added.
    """
    if not path.exists():
        return []
    rows = {row['trained on']: row for row in tables.read(path.read_text())[0]}
    numbers = [name for name in rows['real alone'] if name != 'trained on']
    return [
        Judged(f'accuracy of a classifier, {n}', rows['real alone'][n], method, '', rows[method][n])
        for n in dict.fromkeys((numbers[0], numbers[-1]))
        for method in methods
    ]


def of_bits(path: Path, model: str, least: str) -> list[Judged]:
    """The bits that `evaluate` found, whose judge is the likelihood; `least` is what no model can be below."""
    if not path.exists():
        return []
    results = json.loads(path.read_text())
    return [
        Judged(
            'bits/dim of held-out data, a bound',
            least,
            model,
            '',
            f'{v["bits/dim"]:.4g} ± {v["standard error"]:.2g}',
        )
        for name, v in results.items()
        if name.startswith('bits/dim on ')
    ]
