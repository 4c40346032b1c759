"""Files that a user hands in: samples and masks. What fits no stated meaning is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion_jax.data.errors import DataError
from diffusion_jax.errors import UserError
from diffusion_jax.types import Kind

_PAIRS = ((0, 1), (0, 255), (-1, 1))  # of numbers that stand for False and True


def read_samples(path: Path, kind: Kind) -> np.ndarray:
    """The values of a picture `[H, W, C]` or of an .npy file in its own shape, float32 as samples of this kind are.

    A picture's numbers are 0 .. 255. What an array holds `kind.read` says by its type: levels, or values in [-1, 1].

    Raises:
        DataError: for a file that is not there or neither of the two, or values that the kind does not have.
    """
    return _read(path, kind.read)


def read_mask(path: Path) -> np.ndarray:
    """A mask from a picture or an .npy file: True (1, 255, white) where values are hidden.

    Raises:
        DataError: as `read_samples`; for more than two values, or a mask that hides nothing, or everything.
    """
    return _read(path, _as_mask)


def _read(path: Path, meaning: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    try:
        x = _load(path) if path.suffix == '.npy' else _decode(path)
    except Exception as error:  # of a damaged file the decoders raise many types
        why = 'there is no such file' if isinstance(error, FileNotFoundError) else 'it is no picture and no .npy array'
        raise DataError(f'cannot read {path}: {why}') from error
    if not (x.dtype == bool or np.issubdtype(x.dtype, np.number)) or np.iscomplexobj(x):
        raise DataError(f'{path} holds {x.dtype}, and numbers are needed')
    try:
        return meaning(x)
    except UserError as error:
        raise DataError(f'{path} {error}') from error


def _as_mask(x: np.ndarray) -> np.ndarray:
    values = np.unique(x).tolist()
    pair = next((pair for pair in _PAIRS if set(values) <= set(pair)), None)
    if pair is None:
        raise UserError(f'must hold two values, 0 and 1, 0 and 255 or False and True; it holds {values[:4]} ..')
    hidden = x == pair[1]
    if hidden.all() or not hidden.any():
        raise UserError('hides everything' if hidden.all() else 'hides nothing: white (1, 255, True) is what is hidden')
    return hidden


def _load(path):
    with path.open('rb') as file:  # not np.load, which opens archives as well
        return np.lib.format.read_array(file)


def _decode(path):
    with Image.open(path) as picture:
        plain = {'1': 'L', 'P': 'RGB', 'LA': 'L', 'RGBA': 'RGB'}.get(picture.mode, picture.mode)
        values = np.asarray(picture.convert(plain))
    return values if values.ndim == 3 else values[..., None]
