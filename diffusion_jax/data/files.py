"""Images that a user gives as files."""

from pathlib import Path

import numpy as np
from PIL import Image

from diffusion_jax.data.sources import DataError


def read_images(path: Path) -> np.ndarray:
    """The values of a picture `[H, W, C]`, or of an .npy file in its own shape, float32 in [-1, 1].

    Integers are taken for 0 .. 255, truth values for 0 and 255.

    Raises:
        DataError: for a file that is not there or neither of the two, or values outside of [-1, 1].
    """
    try:
        x = np.load(path) if path.suffix == '.npy' else _decode(path)
    except (OSError, ValueError, EOFError) as error:
        why = 'there is no such file' if isinstance(error, FileNotFoundError) else 'it is no picture and no .npy array'
        raise DataError(f'cannot read {path}: {why}') from error
    if x.dtype == bool:
        x = x * np.uint8(255)
    if np.issubdtype(x.dtype, np.integer):
        x = x / np.float32(127.5) - 1
    if not (np.issubdtype(x.dtype, np.floating) and (np.abs(x) <= 1).all()):
        raise DataError(f'{path} must hold integers in 0 .. 255 or floats in [-1, 1]')
    return x.astype(np.float32)


def _decode(path):
    with Image.open(path) as picture:
        plain = {'1': 'L', 'P': 'RGB', 'LA': 'L', 'RGBA': 'RGB'}.get(picture.mode, picture.mode)
        values = np.asarray(picture.convert(plain))
    return values if values.ndim == 3 else values[..., None]
