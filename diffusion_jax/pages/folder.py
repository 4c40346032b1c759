"""A run's folder as a page shows it, while the run may be writing to it."""

import json
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_jax.errors import UserError
from diffusion_jax.workdir import files

PICTURES = ('.png', '.gif', '.webp', '.jpg')
SOUNDS = ('.wav',)
FILMS = ('.mp4', '.webm')
_RECENT = 20  # rows of the log that say how fast a run goes


class Curve(NamedTuple):
    """A metric of the log."""

    steps: list[int]  # ascending
    values: list[float | None]  # None for what is not finite


class Seen(NamedTuple):
    """A run."""

    name: str
    path: Path
    config: dict[str, Any]  # by dotted names
    curves: dict[str, Curve]
    results: dict[str, dict[str, Any]]  # of metrics.json: `values` and `protocol`, or the values themselves
    media: list[Path]  # of samples/, the newest first
    provenance: dict[str, Any]
    age: float | None  # seconds since the log grew; None without one

    @property
    def step(self) -> int:
        """The last one of the log, 0 before the first."""
        return max((curve.steps[-1] for curve in self.curves.values()), default=0)

    @property
    def steps(self) -> int:
        """What the run was asked for."""
        return int(self.config.get('train.steps', 0))

    @property
    def seconds_left(self) -> float | None:
        """By the median of what the last steps took; None where nothing says it."""
        found = [v for v in self.curves.get('step_seconds', Curve([], [])).values[-_RECENT:] if v]
        return sorted(found)[len(found) // 2] * max(0, self.steps - self.step) if found else None


def read(workdir: Path) -> Seen:
    """What a run's folder holds by now.

    Raises:
        UserError: if it holds no run, or a file of it is damaged.
    """
    config, log = files.flat(files.load_config(workdir)), workdir / 'metrics.jsonl'
    return Seen(
        workdir.resolve().name,
        workdir,
        config,
        curves(log.read_text(errors='replace').splitlines() if log.exists() else []),
        files.read_json(workdir / 'metrics.json', {}),
        media(workdir),
        files.read_json(workdir / 'provenance.json', {}),
        max(0.0, time.time() - log.stat().st_mtime) if log.exists() else None,
    )


def media(workdir: Path) -> list[Path]:
    """Pictures, sounds and films of a run's samples, the newest first."""
    samples, shown = workdir / 'samples', PICTURES + SOUNDS + FILMS
    found = [p for p in samples.iterdir() if p.suffix in shown and p.name[0] != '.'] if samples.is_dir() else []
    return sorted(found, key=lambda p: (p.stat().st_mtime, p.name), reverse=True)


def read_all(workdirs: Iterable[Path]) -> list[Seen]:
    """Several runs under names that differ: their folders', with as much of the path as that takes.

    Raises:
        UserError: as `read`; if a folder is given twice.
    """
    seen = [read(workdir) for workdir in workdirs]
    parts = [run.path.resolve().parts for run in seen]
    if len(set(parts)) < len(parts):
        twice = next(run.path for run, p in zip(seen, parts, strict=True) if parts.count(p) > 1)
        raise UserError(f'{twice} is given twice')
    n = next((n for n in range(1, max(map(len, parts))) if len({p[-n:] for p in parts}) == len(parts)), 1)
    return [run._replace(name='/'.join(p[-n:])) for run, p in zip(seen, parts, strict=True)]


def curves(lines: Iterable[str]) -> dict[str, Curve]:
    """The metrics of a log, by name.

    Where a run went on from an earlier checkpoint the log has steps twice, and the later row counts. A line that is
    being written, or is damaged, is left out.
    """
    rows: dict[int, Mapping[str, Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
            step = int(row['step'])
        except (ValueError, TypeError, KeyError):
            continue
        if rows and step <= next(reversed(rows)):
            rows = {s: r for s, r in rows.items() if s < step}
        rows[step] = row
    found: dict[str, Curve] = {}
    for step, row in rows.items():
        for name, value in row.items():
            if name != 'step' and isinstance(value, int | float):
                curve = found.setdefault(name, Curve([], []))
                curve.steps.append(step)
                curve.values.append(float(value) if math.isfinite(value) else None)
    return found


def differences(runs: Iterable[Seen]) -> dict[str, list[str]]:
    """The fields of configs that are not the same in all runs, and what each has; '' for none."""
    runs = list(runs)
    names = dict.fromkeys(name for run in runs for name in run.config)
    told = {name: [_shown(run.config[name]) if name in run.config else '' for run in runs] for name in names}
    return {name: values for name, values in told.items() if len(set(values)) > 1}


def _shown(value):
    return f'{value:.6g}' if isinstance(value, float) else str(value)
