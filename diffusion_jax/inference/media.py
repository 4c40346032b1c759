"""Samples as files: images in 0..255 on a grid, points as a scatter plot."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from diffusion_jax.data.pipeline import to_uint8
from diffusion_jax.evaluation.report import image_grid, save_png
from diffusion_jax.workdir.paths import AnyPath

_GAP = 128  # grey level between images


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether one sample of this shape is `[H, W, C]`."""
    return len(shape) == 3


def storable(x: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as uint8 `[n, H, W, C]`; anything else, uint8 images included, as it is."""
    return np.asarray(to_uint8(x)) if is_image(x.shape[1:]) and x.dtype != np.uint8 else x


def save(path: AnyPath, x: np.ndarray) -> None:
    """Writes samples `[n, ...]` in [-1, 1] or uint8 images as one PNG; points `[n, D]` by their first coordinates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_image(x.shape[1:]):
        save_png(path, image_grid(_framed(x), columns=int(np.ceil(np.sqrt(len(x))))))
        return
    figure = Figure(figsize=(4, 4))
    axes = figure.add_subplot()
    axes.scatter(x[:, 0], x[:, 1], s=3)
    axes.set_aspect('equal')
    with path.open('wb') as file:
        figure.savefig(file, dpi=100)


def save_rows(path: AnyPath, rows: Mapping[str, np.ndarray]) -> None:
    """Writes named rows of images `[n, H, W, C]` in [-1, 1] below each other, with their names."""
    grids = {name: image_grid(_framed(x), columns=len(x)) for name, x in rows.items()}
    height, width = next(iter(grids.values())).shape[:2]
    left = max(1.2, 0.08 * max(map(len, rows)))  # inches for the names
    figure = Figure(figsize=(8 + left, 8 * len(rows) * height / width))
    for i, (name, grid) in enumerate(grids.items()):
        axes = figure.add_axes((left / (8 + left), 1 - (i + 1) / len(rows), 8 / (8 + left), 1 / len(rows)))
        axes.imshow(grid, cmap='gray', vmin=0, vmax=255, interpolation='nearest', aspect='auto')
        axes.set_axis_off()
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha='right', va='center', fontsize=9)
    with path.open('wb') as file:
        figure.savefig(file, dpi=100)


def save_edits(path: AnyPath, beside: Mapping[str, np.ndarray], x: np.ndarray) -> None:
    """Writes one row per image, of the first 16: what is beside it, `[n, ...]` each, and its first 14 variants of x."""
    given, x = np.stack([storable(v) for v in beside.values()], 1), storable(x)
    rows = np.concatenate([given, x.reshape(len(given), -1, *x.shape[1:])], 1)[:16, : given.shape[1] + 14]
    if is_image(x.shape[1:]):
        save_png(path, image_grid(_framed(rows.reshape(-1, *x.shape[1:])), columns=rows.shape[1]))
    else:
        save(path, x)


def _framed(x):
    """Uint8 images of at least 32 pixels (small ones enlarged by whole factors) with a grey line around each."""
    scale = max(1, -(-32 // x.shape[1]))
    images = storable(x).repeat(scale, 1).repeat(scale, 2)
    return np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=_GAP)
