"""An autoencoder's half on tiles of what is larger than it was trained for, blended where they overlap."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from diffusion_jax.ranges import whole
from diffusion_jax.types import Array


class Tiles(NamedTuple):
    """Sides of tiles, in latents."""

    side: int
    overlap: int


def tiles(side: int, overlap: int | None = None) -> Tiles:
    """Square tiles that overlap the next ones by `overlap` latents, a quarter of `side` by default.

    `side` is in [2, inf), `overlap` in [0, side / 2].

    Raises:
        ValueError: for another side or overlap.
    """
    whole('[2, inf)', side=side)
    overlap = side // 4 if overlap is None else overlap
    whole('[0, inf)', overlap=overlap)
    if overlap > side / 2:
        raise ValueError(f'overlap must be at most {side // 2}, half of a tile; got {overlap}')
    return Tiles(side, overlap)


def tiled(
    apply: Callable[[np.ndarray], Array | np.ndarray], z: np.ndarray, of: Tiles, pixels_in: int = 1, pixels_out: int = 1
) -> np.ndarray:
    """What `apply` makes of `z` `[B, H, W, C]`, tile by tile; the same to the last bit where one tile is all of it.

    From the upper left on, as `AutoencoderKL.tiled_decode` and `tiled_encode` of diffusers have it: a tile's first rows
    go over linearly from those of the tile above it, then its first columns from those of the tile to the left. There
    a tile that lies whole within the one before it follows all the same; here it does not.

    Args:
        apply: a tile `[B, h, w, C]`, smaller at the lower and right end, -> `[B, h', w', C']`.
        z: the whole, of `pixels_in` for each latent along a side.
        of: the tiles.
        pixels_in: 1 to decode latents; the pixels of a latent to encode images.
        pixels_out: of what comes out, likewise.
    """
    starts = [_starts(side // pixels_in, of) for side in z.shape[1:3]]
    side, blended, kept = pixels_in * of.side, pixels_out * of.overlap, pixels_out * (of.side - of.overlap)
    above: list[np.ndarray] = []
    bands = []
    for i in starts[0]:
        row: list[np.ndarray] = []
        for n, j in enumerate(starts[1]):
            top, left = pixels_in * i, pixels_in * j
            tile = np.array(apply(z[:, top : top + side, left : left + side]))
            if above:
                _blend(above[n], tile, blended, axis=1)
            if row:
                _blend(row[-1], tile, blended, axis=2)
            row.append(tile)
        bands.append(_joined(row, kept, axis=2))
        above = row
    return _joined(bands, kept, axis=1)


def _starts(length: int, of: Tiles) -> range:
    return range(0, max(length - of.overlap, 1), of.side - of.overlap)


def _blend(before: np.ndarray, tile: np.ndarray, extent: int, axis: int) -> None:
    """Brings the tile's begin along an axis over from the end of the one before, in place."""
    before, tile = np.moveaxis(before, axis, -1), np.moveaxis(tile, axis, -1)
    w = np.arange(extent, dtype=tile.dtype) / max(extent, 1)
    tile[..., :extent] = before[..., before.shape[-1] - extent :] * (1 - w) + tile[..., :extent] * w


def _joined(parts: Sequence[np.ndarray], kept: int, axis: int) -> np.ndarray:
    """Side by side, each without what the next one has, of the last one all."""
    cut = [np.take(part, range(kept), axis) for part in parts[:-1]]
    return np.concatenate([*cut, parts[-1]], axis)
