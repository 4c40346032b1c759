"""Values in [-1, 1] and their grids: equally spaced levels, from -1 for level 0 to 1 for the last."""

import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8


def to_levels(x: Shaped[np.ndarray | Array, '*shape'], levels: int) -> Shaped[np.ndarray, '*shape']:
    """The nearest level of each value, 0 .. levels - 1, in the smallest unsigned type; what lies outside is clipped."""
    half = (levels - 1) / 2
    # In float64 where float32 could not tell levels apart.
    dtype = np.float32 if levels <= 2**12 else np.float64
    index = np.clip(np.round(dtype(half) * np.asarray(x, dtype) + dtype(half)), 0, levels - 1)
    return index.astype(np.min_scalar_type(levels - 1))


def from_levels(index: Shaped[np.ndarray, '*shape'], levels: int) -> Float[np.ndarray, '*shape']:
    """The values of levels, in float32."""
    return np.asarray(index, np.float32) / np.float32((levels - 1) / 2) - 1


def rounded(x: Shaped[np.ndarray, '*shape'], levels: int | None) -> Shaped[np.ndarray, '*shape']:
    """Values as quantised data have them; unchanged where `levels` is None."""
    return x if levels is None else from_levels(to_levels(x, levels), levels)


def to_uint8(x: Shaped[np.ndarray | Array, '*shape']) -> UInt8[np.ndarray, '*shape']:
    """The 0..255 of pictures: clip(round(127.5 x + 127.5)), whatever the data's own levels are."""
    return to_levels(x, 256)
