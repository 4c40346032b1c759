"""Ranges of arguments: a factory checks them in one line, in the notation of its docstring."""

import numpy as np
from jax.core import Tracer

MOST = 2**31 - 1  # JAX counts in 32 bits
MOST_SEED = 2**32 - 1  # and takes seeds modulo 2^32: a greater one would be another in disguise


def within(interval: str, **values) -> None:
    """Refuses numbers outside of an interval such as '[0, 1)' or '(0, inf)', and those that are none.

    Of an array every element counts. A traced value is not known yet, and passes.

    Raises:
        ValueError: 'NAME must be in [0, 1); got VALUE'.
    """
    for name, value in values.items():
        if not (isinstance(value, Tracer) or _inside(interval, np.asarray(value))):
            raise ValueError(f'{name} must be in {interval}; got {value!r}')


def whole(interval: str, **values) -> None:
    """The same of whole numbers: 2.0 is none.

    Raises:
        ValueError: 'NAME must be a whole number in [1, inf); got VALUE'.
    """
    for name, value in values.items():
        if np.asarray(value).dtype.kind not in 'iu' or not _inside(interval, np.asarray(value)):
            raise ValueError(f'{name} must be a whole number in {interval}; got {value!r}')


def ascending(**values) -> None:
    """Refuses two numbers the first of which is not below the second.

    Raises:
        ValueError: 'A must be below B; got VALUE and VALUE'.
    """
    (low, a), (high, b) = values.items()
    if not any(isinstance(v, Tracer) for v in (a, b)) and not a < b:
        raise ValueError(f'{low} must be below {high}; got {a!r} and {b!r}')


def one_of(choices, **values) -> None:
    """Refuses what is not among the choices.

    Raises:
        ValueError: "NAME must be one of ['a', 'b']; got VALUE".
    """
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f'{name} must be one of {sorted(choices)}; got {value!r}')


def _inside(interval, value):
    if value.dtype.kind not in 'iuf':
        return False
    low, high = (float(end) for end in interval[1:-1].split(','))
    from_low = value >= low if interval[0] == '[' else value > low
    to_high = value <= high if interval[-1] == ']' else value < high
    return bool((from_low & to_high).all())
