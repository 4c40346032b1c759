"""Sheets of clips: a moving one, and one clip of each row frame by frame."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from diffusion_jax.data import show
from diffusion_jax.workdir.paths import AnyPath

_LEFT, _SIZE, _FRAME_MS = 190, 13, 150  # pixels for the names, of their letters; milliseconds


def animate(path: AnyPath, rows: Mapping[str, Float[np.ndarray, 'n t h w c']]) -> None:
    """Writes a GIF: named rows of clips in [-1, 1], as many each and as long, all played together."""
    frames = zip(*(np.moveaxis(x, 1, 0) for x in rows.values()), strict=True)
    pages = [_page([*rows], [show.framed_grid(x, columns=len(x)) for x in of_time]) for of_time in frames]
    with path.open('wb') as file:
        pages[0].save(file, 'GIF', save_all=True, append_images=pages[1:], duration=_FRAME_MS, loop=0)


def _page(names, grids):
    height, width = grids[0].shape[:2]
    page = Image.new('L', (_LEFT + width, height * len(grids)), 255)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(_SIZE)
    for i, (name, grid) in enumerate(zip(names, grids, strict=True)):
        page.paste(Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid), (_LEFT, i * height))
        pen.text((4, (i + 0.5) * height), name, 0, font, anchor='lm')
    return page


def strips(path: AnyPath, rows: Mapping[str, Float[np.ndarray, 'n t h w c']]) -> None:
    """Writes a PNG: the frames of the first clip of each row, beside each other."""
    length = next(iter(rows.values())).shape[1]
    show.named_rows(path, {name: x[0] for name, x in rows.items()}, [f't = {t}' for t in range(length)])
