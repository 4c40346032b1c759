"""Samples as files: images in 0..255 on a grid, points as a scatter plot."""

from pathlib import Path

import numpy as np

from diffusion_jax.data.pipeline import to_uint8


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether one sample of this shape is `[H, W, C]`."""
    return len(shape) == 3


def storable(x: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as uint8 `[n, H, W, C]`; anything else as it is."""
    return np.asarray(to_uint8(x)) if is_image(x.shape[1:]) else x


def save(path: Path, x: np.ndarray) -> None:
    """Writes samples `[n, ...]` in [-1, 1] as one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_image(x.shape[1:]):
        from diffusion_jax.evaluation.report import image_grid, save_png

        save_png(path, image_grid(storable(x), columns=int(np.ceil(np.sqrt(len(x))))))
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4))
    axes = figure.add_subplot()
    axes.scatter(x[:, 0], x[:, 1], s=3)
    axes.set_aspect('equal')
    figure.savefig(path, dpi=100)
