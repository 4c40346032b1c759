"""What a data set leaves behind in a network's features, kept on this machine: reading ImageNet once is enough."""

import hashlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from diffusion_jax.data.sources import Source
from diffusion_jax.devices import processes
from diffusion_jax.errors import one_line
from diffusion_jax.evaluation.features import Features
from diffusion_jax.evaluation.frechet import Moments
from diffusion_jax.evaluation.generalization import Neighbours
from diffusion_jax.evaluation.inception_score import ClassSums
from diffusion_jax.evaluation.measure import Reference, Summary, make_reference
from diffusion_jax.evaluation.rows import Values

_LOOKED_AT = 1024  # rows, by which a data set is known beside its name and size


class _Kept(NamedTuple):
    """The parts of a `Reference` that took reading the data."""

    summary: Summary
    gap: tuple[Moments, Moments] | None
    held_out: Neighbours | None


def reference(source: Source, features: Features, held_out: Source | None = None) -> Reference:
    """As `measure.make_reference`, to the last bit, from ~/.cache/diffusion_jax_references if it was made there before.

    A file serves the same data and features on the same kind of device and version of this package. It may be removed
    at any time. Of several processes all read theirs, or all make it anew.
    """
    sets = [_fingerprint(s) for s in (source, held_out) if s is not None]
    device = jax.devices()[0].device_kind
    known_by = json.dumps([sets, features.name, features.hash, features.resize, device])
    folder = Path.home() / '.cache' / 'diffusion_jax_references'
    path = folder / f'{hashlib.sha256(known_by.encode()).hexdigest()[:32]}.npz'
    found = _read(path)
    if processes.everywhere(found is not None) and found is not None:
        print(f'{source.name} in {features.name}: read from {path}')
        return Reference(
            source.name, source.kind.levels, features, Values(source), found.held_out, found.gap, found.summary
        )
    made = make_reference(source, features, held_out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            np.savez(Path(unfinished) / path.name, **_arrays(made))
            (Path(unfinished) / path.name).replace(path)
    except OSError as error:  # it can be made again
        print(f'{path} cannot be written: {one_line(error)}', file=sys.stderr)
    return made


def _fingerprint(source: Source) -> list:
    n = len(source.x)
    rows = np.ascontiguousarray(source.x[np.unique(np.linspace(0, n - 1, min(n, _LOOKED_AT)).astype(np.int64))])
    return [source.name, n, source.kind.levels, rows.dtype.str, rows.shape, hashlib.sha256(rows.tobytes()).hexdigest()]


def _code() -> str:
    """Of this package: what its older versions made may not be what this one would."""
    folder = Path(__file__).parents[1]
    contents = b''.join(path.read_bytes() for path in sorted(folder.rglob('*.py')))
    return hashlib.sha256(contents).hexdigest()


def _arrays(of: Reference) -> dict[str, Any]:
    summary, (train, other) = of.summary, of.gap or (None, None)
    parts = {'moments': summary.moments, 'spatial': summary.spatial, 'train': train, 'other': other}
    parts |= {'held_out': of.held_out, **{f'split_{i}': sums for i, sums in enumerate(summary.classes)}}
    there = {name: part._asdict() for name, part in parts.items() if part is not None}
    arrays = {f'{name}.{field}': value for name, fields in there.items() for field, value in fields.items()}
    return {'code': _code(), 'rows': summary.rows, **arrays}


def _read(path: Path) -> _Kept | None:
    """None where there is no such file, or a damaged one, or one that other code wrote."""
    try:
        with path.open('rb') as opened, np.load(opened) as file:  # np.load leaves a damaged one open
            if file['code'] != _code():
                return None
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None

    def part(name, kind):
        fields = {field: arrays[f'{name}.{field}'] for field in kind._fields}
        return kind(**{field: value if value.ndim else value.item() for field, value in fields.items()})

    splits = [part(f'split_{i}', ClassSums) for i in range(sum(name.endswith('.p_log_p') for name in arrays))]
    spatial = part('spatial', Moments) if 'spatial.n' in arrays else None
    summary = Summary(part('moments', Moments), spatial, splits, arrays['rows'])
    if 'train.n' not in arrays:
        return _Kept(summary, None, None)
    return _Kept(summary, (part('train', Moments), part('other', Moments)), part('held_out', Neighbours))
