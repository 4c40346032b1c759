"""All metrics of samples against one data set, under one protocol, in memory that does not grow with their number."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from diffusion_jax.data.quantise import rounded
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation import frechet, inception_score
from diffusion_jax.evaluation.features import Features
from diffusion_jax.evaluation.frechet import Moments, frechet_distance
from diffusion_jax.evaluation.generalization import Neighbours, copy_rate, frechet_gap, memorisation, nearest_neighbours
from diffusion_jax.evaluation.inception_score import ClassSums
from diffusion_jax.evaluation.kid import kernel_distance
from diffusion_jax.evaluation.manifold import manifold
from diffusion_jax.evaluation.report import Protocol, Result, class_name, frechet_name, kernel_name, spatial_name
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.progress import counted, progress_bar

_CHUNK = 1000
_ROWS = 10_000  # so many samples and their features are kept for the metrics of pairs
_HELD_OUT_ROWS = 2000  # enough for a median, and for a rate of copies to 0.3 %
_SUBSETS = 20
_SPLITS = 10


class Summary(NamedTuple):
    """What a stream of samples leaves behind."""

    moments: Moments
    spatial: Moments | None
    classes: list[ClassSums]  # of ten splits, in order; empty without logits
    rows: np.ndarray  # [n, d] features of the first samples, `_ROWS` at most; none of a file of statistics


class Reference(NamedTuple):
    """A data set as samples are compared with it."""

    name: str
    levels: int | None
    features: Features
    x: Values
    held_out: Neighbours | None  # of rows of another split, for what tells copies
    gap: tuple[Moments, Moments] | None  # of equally many rows of this and of the other split
    summary: Summary


def summarise(features: Features, batches: Iterable[np.ndarray], num: int) -> Summary:
    """The features of `num` samples in batches `[b, ...]` in [-1, 1], one batch in memory at a time.

    Raises:
        ValueError: for fewer than two samples, or features that are not finite.
    """
    total, spatial, classes, rows, done = None, None, {}, [], 0
    for batch in batches:
        out = features.outputs(jnp.asarray(batch))
        values = np.asarray(out.rows)
        total = _merged(total, values)
        spatial = spatial if out.spatial is None else _merged(spatial, np.asarray(out.spatial))
        _keep(rows, values)
        if out.logits is not None:
            # Split i is the samples from i num // 10 up to (i + 1) num // 10.
            split = ((done + np.arange(1, len(values) + 1)) * _SPLITS - 1) // num
            for i in np.unique(split):
                sums = inception_score.class_sums(np.asarray(out.logits)[split == i])
                classes[i] = inception_score.add(classes[i], sums) if i in classes else sums
        done += len(values)
    if total is None:
        raise ValueError('a covariance needs at least 2 samples, got 0')
    return Summary(
        frechet.finish(total, features.name),
        None if spatial is None else frechet.finish(spatial, f'spatial {features.name}'),
        list(classes.values()),
        np.concatenate(rows),
    )


def make_reference(source: Source, features: Features, held_out: Source | None = None) -> Reference:
    """Reads a data set and its features, in memory that does not grow with it."""
    x, other = Values(source), None if held_out is None else Values(held_out)
    n = 0 if other is None else min(len(x), len(other))
    with progress_bar(f'{source.name} in {features.name}', len(x) + 2 * n) as progress:
        summary = summarise(features, counted(_chunks(x, len(x)), progress), len(x))
        if other is None:
            return Reference(source.name, source.kind.levels, features, x, None, None, summary)
        gap = (
            frechet.moments(features, counted(_chunks(x, n), progress, len(x))),
            frechet.moments(features, counted(_chunks(other, n), progress, len(x) + n)),
        )
        near = nearest_neighbours(other[:_HELD_OUT_ROWS], x)
        return Reference(source.name, source.kind.levels, features, x, near, gap, summary)


def measure(samples: np.ndarray, reference: Reference, seeds: tuple[int, ...], conditions: str = 'none') -> Result:
    """Frechet and kernel distance in the reference's features; by distances in pixels the rate of copies.

    The memorisation ratio is that of the two medians beside it: it does not see copies among less than half.

    Args:
        samples: `[n, ...]` in [-1, 1]; rounded to the reference's levels first, if it has them.
        reference: from `make_reference`.
        seeds: of the samples.
        conditions: what was asked for, of a conditional model.
    """
    samples = rounded(samples, reference.levels)
    mine = summarise(reference.features, _chunks(samples, len(samples)), len(samples))
    return _result(_distances(mine, reference, [samples[:_ROWS]]), mine, reference, seeds, conditions)


def survey(
    batches: Iterable[np.ndarray], num: int, reference: Reference, seeds: tuple[int, ...], conditions: str = 'none'
) -> Result:
    """Everything: what `measure` gives, a standard error, sFID and Inception Score, neighbour metrics, the gap.

    A 'standard error' is the spread over repetitions with fresh samples, the reference being as it is unless the name
    says otherwise. The 'std over 10 splits' that papers quote is none, and the other values come without any.

    Args:
        batches: `num` samples in all, `[b, ...]` in [-1, 1], rounded to the reference's levels first, if it has them.
        num: of them.
        reference: from `make_reference`.
        seeds: of the samples.
        conditions: what was asked for, of a conditional model.
    """
    features, first = reference.features, []

    def seen():
        for batch in batches:
            batch = rounded(batch, reference.levels)
            if reference.held_out is not None:
                _keep(first, batch)
            yield batch

    mine = summarise(features, seen(), num)
    values = _distances(mine, reference, first)
    kept = len(mine.rows)
    if kept > 2:
        spread = frechet.jackknife(mine.rows, reference.summary.moments)
        # Of the rows that were kept; that of all falls as 1 / sqrt(n).
        values[f'{frechet_name(features)}, standard error'] = spread * np.sqrt(kept / mine.moments.n)
    if mine.spatial is not None and reference.summary.spatial is not None:
        values[spatial_name(features)] = _frechet(mine.spatial, reference.summary.spatial)
    if mine.classes:
        score = inception_score.over_splits(mine.classes)
        values[class_name(features)] = score.mean
        values[f'{class_name(features)}, std over {_SPLITS} splits'] = score.std
        values |= _known({f'{class_name(features)}, standard error': score.standard_error})
    if min(kept, len(reference.summary.rows)) > 5:
        shares = manifold(mine.rows, reference.summary.rows, 3, 5)
        values |= {'precision (k=3)': shares.precision, 'recall (k=3)': shares.recall}
        values |= {'density (k=5)': shares.density, 'coverage (k=5)': shares.coverage}
    if reference.gap is not None:
        values['Frechet gap, held-out less train'] = frechet_gap(mine.moments, *reference.gap)
    return _result(values, mine, reference, seeds, conditions)


def _distances(mine: Summary, reference: Reference, first: list[np.ndarray]) -> dict[str, float]:
    features, theirs = reference.features, reference.summary
    values = {frechet_name(features): _frechet(mine.moments, theirs.moments)}
    size = _subset_size(mine, reference)
    if size:
        kernel = kernel_distance(mine.rows, theirs.rows, subsets=_SUBSETS, subset_size=size)
        values[kernel_name(features)] = kernel.mean
        error = f'{kernel_name(features)}, standard error'
        values |= _known({error: kernel.standard_error, f'{error} with a fresh reference': kernel.with_reference})
    if reference.held_out is not None:
        found = nearest_neighbours(np.concatenate(first), reference.x)
        near = memorisation(found.distance, reference.held_out.distance)
        values['median training distance, samples'] = near.sample_distance
        values['median training distance, held-out'] = near.held_out_distance
        values['memorisation ratio'] = near.ratio
        copies = copy_rate(found.distance, reference.held_out.distance)
        values |= {'rate of copies': copies.rate, 'rate of copies, standard error': copies.standard_error}
    return values


def _result(
    values: dict[str, float], mine: Summary, reference: Reference, seeds: tuple[int, ...], conditions: str
) -> Result:
    size = _subset_size(mine, reference)
    protocol = Protocol(
        features=reference.features.name,
        features_hash=reference.features.hash,
        n=mine.moments.n,
        reference=reference.name,
        reference_size=len(reference.x),
        seeds=seeds,
        levels=reference.levels,
        rounding='none' if reference.levels is None else f'{reference.levels} levels',
        conditions=conditions,
        resize=reference.features.resize,
        rows=_ROWS,
        kernel_subsets=f'{_SUBSETS} of {size}' if size else 'none',
    )
    return Result({k: float(v) for k, v in values.items()}, protocol)


def _known(errors: dict[str, float]) -> dict[str, float]:
    """Those that are: of a few samples there is none."""
    return {name: error for name, error in errors.items() if not np.isnan(error)}


def _subset_size(mine: Summary, reference: Reference) -> int:
    return min(1000, len(mine.rows), len(reference.summary.rows))


def _frechet(a: Moments, b: Moments) -> float:
    return frechet_distance(a.mean, a.cov, b.mean, b.cov)


def _keep(kept: list[np.ndarray], more: np.ndarray) -> None:
    """Appends what is missing to `_ROWS` rows."""
    missing = _ROWS - sum(map(len, kept))
    if missing > 0:  # a view of no rows would hold the array that it is of
        kept.append(more[:missing])


def _merged(total: frechet.Running | None, values: np.ndarray) -> frechet.Running:
    mine = frechet.running(values)
    return mine if total is None else frechet.merge(total, mine)


def _chunks(x: np.ndarray | Values, n: int) -> Iterator[np.ndarray]:
    """The first n rows."""
    return (x[i : min(i + _CHUNK, n)] for i in range(0, n, _CHUNK))
