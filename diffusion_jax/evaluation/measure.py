"""All distances of one set of samples to one data set, under one protocol."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from diffusion_jax.data.pipeline import to_uint8
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation.features import Features
from diffusion_jax.evaluation.frechet import Moments, frechet_distance, moments
from diffusion_jax.evaluation.generalization import Neighbours, memorisation, nearest_neighbours
from diffusion_jax.evaluation.kid import kernel_distance
from diffusion_jax.evaluation.report import Protocol, Result, frechet_name, kernel_name

_CHUNK = 1000
_KERNEL_ROWS = 10_000  # more reference rows than any kernel-distance subset needs
_HELD_OUT_ROWS = 2000  # enough for a median


class Reference(NamedTuple):
    """A data set as samples are compared with it."""

    name: str
    levels: int | None
    features: Features
    x: np.ndarray  # [N, ...] in [-1, 1]
    held_out: Neighbours | None  # of rows of another split, for the memorisation figure
    moments: Moments


def values_of(source: Source) -> np.ndarray:
    """Every row of a source, float32 in [-1, 1], on the grid of `to_uint8` if it is quantised."""
    rows = source.x[np.arange(len(source.x))]
    return rows if source.levels is None else rounded(rows / np.float32((source.levels - 1) / 2) - 1)


def rounded(x: np.ndarray) -> np.ndarray:
    """Values as a stored picture has them: to uint8 and back to [-1, 1]."""
    return np.asarray(to_uint8(x), np.float32) / np.float32(127.5) - 1


def make_reference(source: Source, features: Features, held_out: Source | None = None) -> Reference:
    """Reads a data set and its feature moments once."""
    x = values_of(source)
    other = None if held_out is None else nearest_neighbours(values_of(held_out)[:_HELD_OUT_ROWS], x)
    return Reference(source.name, source.levels, features, x, other, moments(features, _chunks(x)))


def measure(samples: np.ndarray, reference: Reference, seeds: tuple[int, ...]) -> Result:
    """Frechet and kernel distance in the reference's features, and nearest-neighbour distances in pixels.

    Args:
        samples: `[n, ...]` in [-1, 1]; rounded to uint8 first if the reference is quantised.
        reference: from `make_reference`.
        seeds: of the samples.
    """
    samples = samples if reference.levels is None else rounded(samples)
    features = reference.features
    mine = moments(features, _chunks(samples))
    values = {
        frechet_name(features): frechet_distance(mine.mean, mine.cov, reference.moments.mean, reference.moments.cov)
    }
    rows = np.concatenate([np.asarray(features.apply(jnp.asarray(c))) for c in _chunks(samples)])
    others = np.concatenate([np.asarray(features.apply(jnp.asarray(c))) for c in _chunks(reference.x[:_KERNEL_ROWS])])
    kernel = kernel_distance(rows, others, subsets=20, subset_size=min(1000, len(rows), len(others)))
    values[kernel_name(features)] = kernel.mean
    values[f'{kernel_name(features)}, standard error'] = kernel.standard_error
    if reference.held_out is not None:
        near = memorisation(nearest_neighbours(samples, reference.x), reference.held_out)
        values['nearest training distance, samples'] = near.sample_distance
        values['nearest training distance, held-out'] = near.held_out_distance
        values['memorisation ratio'] = near.ratio
    protocol = Protocol(
        features=features.name,
        features_hash=features.hash,
        n=len(samples),
        reference=reference.name,
        reference_size=len(reference.x),
        seeds=seeds,
        levels=reference.levels,
        rounding='none' if reference.levels is None else 'uint8',
    )
    return Result({k: float(v) for k, v in values.items()}, protocol)


def _chunks(x):
    return (jnp.asarray(x[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK))
