"""What a classifier is trained on: real rows, generated ones, or half of each."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from diffusion_jax.data import augment
from diffusion_jax.data.quantise import to_levels
from diffusion_jax.data.sources import Source, rows_of
from diffusion_jax.evaluation import classifier
from diffusion_jax.evaluation.generalization import copy_rate, nearest_neighbours
from diffusion_jax.evaluation.rows import Values

REAL, SHIFTED, SHUFFLED = 'real alone', 'real, shifted', 'real, labels shuffled'
ALONE = 'alone'  # what a generator's name ends with where no real row is seen


class Mix(NamedTuple):
    """A row of the table: what is seen of real rows and of which generator."""

    name: str
    generator: str | None = None
    real: bool = True
    shifted: bool = False
    shuffled: bool = False


def mixes(generators: Sequence[str]) -> list[Mix]:
    """All that is compared; the first generator is tried with shifts as well."""
    with_real = [Mix(f'real and {name}', name) for name in generators]
    alone = [Mix(f'{name} {ALONE}', name, real=False) for name in generators]
    both = [Mix(f'{SHIFTED} and {name}', name, shifted=True) for name in generators[:1]]
    return [Mix(REAL), Mix(SHIFTED, shifted=True), *with_real, *both, *alone, Mix(SHUFFLED, shuffled=True)]


def labelled(like: Source, x: Float[np.ndarray, 'n ...'], labels: Int[np.ndarray, ' n'], name: str) -> Source:
    """Generated rows in [-1, 1] as a source like another, at its levels."""
    assert like.kind.levels is not None
    return like._replace(x=to_levels(x, like.kind.levels), cond=labels.astype(np.int32), name=name)


def rows(mix: Mix, real: Source, generated: Source, pixels: int, seed: int) -> Source:
    """What a mix shows: two halves of one size whatever the mix, so that the same step sees the same real rows.

    A half is the least multiple of the real rows that is no smaller than the generated set; each real row is in it as
    often. Real alone has them in both halves, a mix in the first, and a generator alone in neither.

    Args:
        mix: which.
        real: the few real rows.
        generated: those of the mix's generator; of a mix without one they only say how large a half is.
        pixels: of the shifts, of real and generated rows alike.
        seed: of the shuffled labels.
    """
    half = len(real.x) * -(-len(generated.x) // len(real.x))
    second = _repeated(real if mix.generator is None else generated, half)
    first = _repeated(real, half) if mix.real else second
    both = jax.tree.map(lambda *parts: np.concatenate(parts), *((s.x, s.cond) for s in (first, second)))
    found = real._replace(x=both[0], cond=both[1], name=mix.name)
    if mix.shuffled:
        # Of the few, not of their copies: each real row has one label, and it is wrong more often than not.
        labels = np.random.default_rng(seed).permutation(real.cond)
        found = found._replace(cond=labels[np.arange(2 * half) % len(labels)])
    return found._replace(kind=found.kind._replace(augment=_shift(pixels))) if mix.shifted else found


_shift = functools.cache(augment.shift)  # one function, so that its classifiers compile once


def _repeated(source: Source, size: int) -> Source:
    index = np.arange(size) % len(source.x)
    return source._replace(x=source.x[index], cond=rows_of(source, index))


def about(x: Source, train: Source, held_out: Source, judge: classifier.Features) -> dict[str, float]:
    """What generated rows are, beside their use.

    `labels kept` is the share that a classifier of all real rows gives the class that was asked for, `copies` the share
    that lies nearer to the training rows than honest samples do (`evaluation.generalization.copy_rate`).
    """
    of_train = Values(train)
    of_x, of_held_out = (nearest_neighbours(Values(s)[:1000], of_train).distance for s in (x, held_out))
    return {'labels kept': classifier.accuracy(judge, x), 'copies': copy_rate(of_x, of_held_out).rate}
