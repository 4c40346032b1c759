"""A sheet of pictures with their captions beneath them."""

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from diffusion_jax.data.quantise import to_levels
from diffusion_jax.workdir.paths import AnyPath

_ZOOM, _GAP, _LINES, _LETTERS, _SIZE = 6, 12, 4, 26, 15  # pixels, and lines of text and letters in each


def sheet(
    path: AnyPath, x: Float[np.ndarray, 'n h w c'], captions: Sequence[str], right: Sequence[bool], columns: int = 6
) -> None:
    """Writes a PNG of pictures in [-1, 1]; captions that a picture does not keep are red."""
    width, height = (_ZOOM * size for size in x.shape[2:0:-1])
    font = ImageFont.load_default(_SIZE)
    step_x, step_y = width + _GAP, height + 3 * _GAP // 2 + _LINES * (_SIZE + 3)
    page = Image.new('RGB', (columns * step_x + _GAP, -(-len(x) // columns) * step_y + _GAP), 'white')
    pen = ImageDraw.Draw(page)
    for i, (image, text, good) in enumerate(zip(to_levels(x, 256), captions, right, strict=True)):
        left, top = _GAP + i % columns * step_x, _GAP + i // columns * step_y
        page.paste(
            Image.fromarray(image.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST), (left, top)
        )
        lines = '\n'.join(textwrap.wrap(text, _LETTERS))
        pen.multiline_text((left, top + height + 3), lines, 'black' if good else 'firebrick', font, spacing=3)
    with path.open('wb') as file:
        page.save(file, 'PNG')
