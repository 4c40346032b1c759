"""A few rows of a data set, as many of each class: what there is to learn from where labels are dear."""

import jax
import numpy as np

from diffusion_jax.data.conditions import is_class
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source, rows_of


def few(source: Source, n: int, seed: int = 0) -> Source:
    """`n` rows at random, in memory and in their order, balanced over the classes.

    Class sizes differ by one at most, but for classes that have no more rows. Of one seed the fewer are among the more.

    Args:
        source: tells one class of each row.
        n: from the number of classes up to that of the rows.
        seed: of the choice, in [0, 2^32).

    Raises:
        DataError: if it tells anything else than a class, for fewer rows than classes, or more than there are.
    """
    parts = [] if source.condition is None else jax.tree.leaves(source.condition.parts)
    if len(parts) != 1 or not is_class(parts[0]):
        raise DataError(f'{source.name}: few={n} are as many rows of each class, and no one class is told of each row')
    (told,) = jax.tree.leaves(source.cond)
    labels = np.asarray(told[np.arange(len(source.x))])
    classes = len(np.unique(labels))
    if not classes <= n <= len(labels):
        raise DataError(f'{source.name} has {classes} classes and {len(labels)} rows: few={n} is not between these')
    if not 0 <= seed < 2**32:
        raise DataError(f'{source.name}: few_seed={seed} is not in [0, 4294967296)')
    index = np.sort(_balanced(np.random.default_rng(seed), labels)[:n])
    return source._replace(x=source.x[index], cond=rows_of(source, index), name=f'{source.name}, {n} by seed {seed}')


def _balanced(rng, labels):
    """All places, so that any first n of them are balanced: the first of every class, then the second, .."""
    order = rng.permutation(len(labels))
    turn = np.zeros(len(order), int)
    for label in np.unique(labels):
        of_class = labels[order] == label
        turn[of_class] = np.arange(of_class.sum())
    return order[np.argsort(turn, kind='stable')]
