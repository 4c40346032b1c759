"""Features of tensorflow-datasets as samples and as conditions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from diffusion_jax.data import conditions, kinds
from diffusion_jax.data.errors import DataError
from diffusion_jax.errors import nearest
from diffusion_jax.types import Condition, Kind, Masked

Cast = Callable[[Sequence[Any]], Any]  # the decoded values of n rows -> a pytree of arrays [n, ...]


class Told(NamedTuple):
    """A feature that is told beside x."""

    condition: Condition
    cast: Cast


def sample(name: str, features: Mapping[str, Any], wanted: str | None) -> tuple[str, Kind]:
    """The feature that is x, and its kind.

    Raises:
        DataError: if there is none, or not one of fixed size.
    """
    if wanted is not None and wanted not in features:
        raise DataError(f"'{name}' has no feature {wanted!r}; {nearest(wanted, features)}")
    fit = {key: kind for key, feature in features.items() if (kind := _kind(feature)) is not None}
    key = wanted or ('image' if 'image' in fit else next(iter(fit), None))
    if key is None or key not in fit:
        what = 'no feature' if key is None else f'{key!r}, which is no feature'
        forms = [(k, getattr(f, 'shape', None), getattr(f, 'np_dtype', None)) for k, f in features.items()]
        shapes = ', '.join(f'{k} {shape} {np.dtype(dtype)}' for k, shape, dtype in forms)
        raise DataError(
            f"'{name}' has {what} of fixed-size uint8 images or videos, or of float32 tensors; it has {shapes}"
        )
    return key, fit[key]


def _kind(feature: Any) -> Kind | None:
    import tensorflow_datasets.public_api as tfds

    shape = getattr(feature, 'shape', None)
    if not shape or None in shape:
        return None
    dtype = np.dtype(feature.np_dtype)
    if isinstance(feature, tfds.features.Video) and dtype == np.uint8:
        return kinds.video(shape)
    if isinstance(feature, tfds.features.Image) and dtype == np.uint8:
        return kinds.images(shape)
    return kinds.field(shape) if dtype == np.float32 else None


def told(name: str, features: Mapping[str, Any], wanted: str, text_length: int) -> Told:
    """How a feature is told beside x: `wanted` is its name, for plain integers with their number, 'digit:10'.

    Raises:
        DataError: for a feature that there is not, or that cannot be told.
    """
    import tensorflow_datasets.public_api as tfds

    key, _, num = wanted.partition(':')
    if key not in features:
        raise DataError(f"'{name}' has no feature {key!r}; {nearest(key, features)}")
    feature = features[key]
    if num:
        return Told(conditions.of_classes(_number(name, feature, key, num)), _integers)
    if isinstance(feature, tfds.features.ClassLabel):
        return Told(conditions.of_classes(int(feature.num_classes or 0), feature.names), _integers)
    if isinstance(feature, tfds.features.Text):
        return Told(conditions.of_bytes(text_length), lambda rows: _texts(rows, text_length))
    shape, dtype = feature.shape, np.dtype(feature.np_dtype)
    if None not in shape and dtype == np.uint8 and len(shape) == 3:
        return Told(conditions.of(conditions.image(shape)), _pictures)
    if None not in shape and len(shape) == 1 and np.issubdtype(dtype, np.floating):
        return Told(conditions.of(conditions.vector(shape[0])), _floats)
    if _is_integer(feature):
        raise DataError(f"'{name}': {key!r} holds integers of no known number: say it, for 0 .. 9 by '{key}:10'")
    raise DataError(
        f"'{name}': {key!r} of shape {shape} and type {dtype} cannot be told: a ClassLabel, integers, a Text, a "
        'fixed-size uint8 image or a vector of floats can'
    )


def _is_integer(feature):
    return feature.shape == () and np.issubdtype(np.dtype(feature.np_dtype), np.integer)


def _number(name, feature, key, num):
    if not _is_integer(feature) or not num.isdecimal() or not int(num):
        raise DataError(f"'{name}': '{key}:{num}' asks for integers 0 .. K - 1 by 'NAME:K'; {key!r} is {feature}")
    return int(num)


def _integers(rows):
    return np.asarray(rows, np.int32)


def _texts(rows, length):
    encoded = [conditions.encode_bytes(row.decode() if isinstance(row, bytes) else row, length) for row in rows]
    return jax.tree.map(lambda *a: np.stack(a), *encoded)


def _pictures(rows):
    return _there(np.asarray(rows, np.float32) / np.float32(127.5) - 1)


def _floats(rows):
    return _there(np.asarray(rows, np.float32))


def _there(values):
    return Masked(values, np.ones(len(values), bool))
