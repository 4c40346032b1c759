"""What a sweep goes through: pure functions that give lists of overrides, joined by `+` and multiplied by `product`.

grid(**{'optim.lr': [1e-4, 1e-3], 'seed': range(3)}) + [{'optim.name': 'radam'}]
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Overrides = dict[str, Any]  # dotted field -> value; a value may be a spec
Distribution = Callable[[np.random.Generator], Any]


def grid(**axes: Iterable[Any]) -> list[Overrides]:
    """Every combination of the values of the fields; the last field varies fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def zipped(**axes: Iterable[Any]) -> list[Overrides]:
    """The first values of all fields together, then the second ones, and so on.

    Raises:
        ValueError: for unequal numbers of values.
    """
    return [dict(zip(axes, values, strict=True)) for values in zip(*axes.values(), strict=True)]


def product(*sweeps: Iterable[Overrides]) -> list[Overrides]:
    """Every combination of one element of each sweep; where they set the same field the later sweep counts."""
    return [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*sweeps)]


def random(n: int, seed: int, /, **distributions: Distribution) -> list[Overrides]:
    """`n` independent draws; draw i depends on (seed, i) alone, so that a larger n adds to a smaller one."""
    return [_draw(np.random.default_rng((seed, i)), distributions) for i in range(n)]


def _draw(rng, distributions):
    return {field: draw(rng) for field, draw in distributions.items()}


def uniform(low: float, high: float) -> Distribution:
    """Uniform on [low, high)."""
    return lambda rng: float(rng.uniform(low, high))


def log_uniform(low: float, high: float) -> Distribution:
    """Log-uniform on [low, high)."""
    return lambda rng: float(np.exp(rng.uniform(np.log(low), np.log(high))))


def choice(values: Iterable[Any]) -> Distribution:
    """One of the values, each as probable."""
    known = list(values)
    return lambda rng: known[rng.integers(len(known))]
