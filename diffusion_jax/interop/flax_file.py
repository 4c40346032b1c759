"""Msgpack checkpoints of Flax as NumPy arrays: nested names, arrays as an extension type of (shape, dtype, bytes)."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import msgpack
import numpy as np

from diffusion_jax.errors import UserError, one_line

_ARRAY, _SCALAR = 1, 3  # flax.serialization's codes


def read(path: Path) -> dict[str, Any]:
    """The tree of a checkpoint that `flax.serialization.to_bytes` wrote; nothing in it is run.

    Raises:
        UserError: if it is not there, is none of Flax's, is cut short or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    try:
        tree = msgpack.unpackb(data, ext_hook=_array, raw=False, max_ext_len=len(data), strict_map_key=False)
    # A damaged file may raise anything.
    except Exception as error:
        raise UserError(f'{path} is no checkpoint of Flax that can be read: {one_line(error)}') from error
    if not isinstance(tree, dict):
        raise UserError(f'{path} is no checkpoint of Flax that can be read: it holds a {type(tree).__name__}, no names')
    return tree


def _array(code: int, data: bytes) -> np.ndarray:
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f'an extension type {code}, and only arrays are read')
    shape, dtype, buffer = msgpack.unpackb(data, raw=True)
    return np.frombuffer(buffer, jnp.dtype(dtype.decode())).reshape(shape)
