"""Runs side by side on one page: how they went, what they were measured to be, what they draw, where they differ."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_jax.pages import html
from diffusion_jax.pages.folder import FILMS, SOUNDS, Curve, Seen, differences

_MOST = 2000  # points of a curve
_SHEETS = 6
_UNITS = {
    'images_per_second': 'samples a second',
    'step_seconds': 'seconds a step',
    'input_wait_share': 'share of a step that waits for data',
    'flops_per_second': 'FLOP/s',
    'compile_seconds': 'seconds of compilation',
    'step_flops': 'FLOPs a step',
    'mfu': 'model FLOPs utilisation',
    'grad_norm': 'norm of the gradient',
    'learning_rate': 'learning rate',
    'peak_bytes': 'bytes of memory at most',
}
_FIRST = ('loss', 'grad_norm')
_LAST = ('images_per_second', 'step_seconds', 'input_wait_share', 'flops_per_second')


class Medium(NamedTuple):
    """A picture, sound or film of a run."""

    run: str
    kind: str  # 'picture', 'sound' or 'film'
    address: str


class Measured(NamedTuple):
    """Results that may be compared: of one protocol."""

    protocol: dict[str, Any]
    names: list[str]  # of the values
    rows: list[tuple[str, str, list[float | None]]]  # run, setting, its values


def page(runs: Sequence[Seen], title: str) -> str:
    """The page of these runs."""
    return html.render(
        'comparison.html',
        title=title,
        runs=runs,
        facts=[facts(run) for run in runs],
        measured=measured(runs),
        sheets=sheets(runs),
        differences=differences(runs),
        configs={run.name: json.dumps(run.config, indent=1, default=str) for run in runs},
        starts={run.name: json.dumps(run.provenance, indent=1, default=str) for run in runs},
        curves=curves(runs),
        plotly=html.plotly(),
    )


def curves(runs: Sequence[Seen]) -> list[dict[str, Any]]:
    """Every metric, with the curve of each run that has it, the loss first; what has one point is no curve."""
    names = dict.fromkeys(name for run in runs for name in run.curves)
    ordered = [*(n for n in _FIRST if n in names), *(n for n in names if n not in (*_FIRST, *_LAST))]
    ordered += [n for n in _LAST if n in names]
    found = []
    for name in ordered:
        mine = [(run.name, run.curves[name]) for run in runs if len(run.curves.get(name, Curve([], [])).steps) > 1]
        if mine:
            lines = [(run, *thinned(curve)) for run, curve in mine]
            told = [{'run': run, 'x': steps, 'y': values} for run, steps, values in lines]
            found.append({'metric': name, 'unit': _UNITS.get(name, name), 'runs': told})
    return found


def thinned(curve: Curve) -> Curve:
    """A curve with every k-th point, the last one always, where it has more than a page can show."""
    k = -(-len(curve.steps) // _MOST)
    keep = [*range(len(curve.steps) - 1, -1, -k)][::-1]
    return Curve([curve.steps[i] for i in keep], [curve.values[i] for i in keep])


def facts(run: Seen) -> dict[str, str]:
    """A run in a row of a table."""
    loss = next((v for v in reversed(run.curves.get('loss', Curve([], [])).values) if v is not None), None)
    speed = [v for v in run.curves.get('images_per_second', Curve([], [])).values if v]
    return {
        'step': f'{run.step:,} of {run.steps:,}',
        'data': str(run.config.get('data.name', '')),
        'objective': str(run.config.get('objective.name', '')),
        'network': str(run.config.get('net.name', '')),
        'last loss': '' if loss is None else f'{loss:.4g}',
        'samples a second': f'{sorted(speed)[len(speed) // 2]:.4g}' if speed else '',
        'devices': ', '.join(map(str, run.provenance.get('devices', []))),
        'commit': str(run.provenance.get('git') or ''),
    }


def measured(runs: Sequence[Seen]) -> list[Measured]:
    """The results of all runs, those of each protocol in a table of their own."""
    tables: dict[str, tuple[dict[str, Any], list[tuple[str, str, dict[str, float]]]]] = {}
    for run in runs:
        for setting, found in run.results.items():
            if isinstance(found, dict):
                protocol = found.get('protocol', {})
                values = {k: v for k, v in found.get('values', found).items() if type(v) in (int, float)}
                key = json.dumps([protocol, [] if protocol else sorted(values)], sort_keys=True, default=str)
                tables.setdefault(key, (protocol, []))[1].append((run.name, setting, values))
    shown = []
    for protocol, rows in tables.values():
        names = [*dict.fromkeys(name for _, _, values in rows for name in values)]
        shown.append(Measured(protocol, names, [(run, s, [v.get(name) for name in names]) for run, s, v in rows]))
    return shown


def sheets(runs: Sequence[Seen]) -> dict[str, list[Medium]]:
    """Media of one name of all runs, so of one sampler and seed, side by side; else the newest one of each.

    Of one run alone its newest ones.
    """
    if len(runs) == 1:
        return {p.name: [_medium(runs[0], p)] for p in runs[0].media[:_SHEETS]}
    common = set.intersection(*({p.name for p in run.media} for run in runs))
    if common:
        ordered = [p.name for p in runs[0].media if p.name in common]
        return {name: [_medium(run, run.path / 'samples' / name) for run in runs] for name in ordered[:_SHEETS]}
    newest = [_medium(run, p) for run in runs for p in run.media[:1]]
    return {'The newest of each': newest} if newest else {}


def kind_of(path: Path) -> str:
    """'picture', 'sound' or 'film'."""
    return 'sound' if path.suffix in SOUNDS else 'film' if path.suffix in FILMS else 'picture'


def _medium(run, path):
    return Medium(run.name, kind_of(path), html.embedded(path))
