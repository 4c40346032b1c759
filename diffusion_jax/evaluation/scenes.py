"""The judge of `data.scenes`: what a picture shows, by thresholds and moments, and what of a caption it keeps.

A pixel whose channels are all above or below one half has one of eight colours; pixels of a colour that touch are a
thing, and how much of each pixel it covers, the rim of one pixel included, gives its area A, its width w and height h,
and its moments. A triangle is skewed along y; of the others A / (w h) is 1 for a square, pi / 4 for a circle. What is
none of these, or has another moment of inertia than these have, is a blob.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from diffusion_jax.data.scene_grammar import Said, Thing
from diffusion_jax.data.scenes import RADII, RGB, Placed, relation

_COLOURS = {sum(on << i for i, on in enumerate(rgb)): name for name, rgb in RGB.items()} | {7: 'white'}
_AREA = {'circle': np.pi, 'square': 4.0, 'triangle': 2.0}  # in squares of the radius
_MATCHED = 6  # largest things that can be those said
_INERTIA = {'circle': 1 / (2 * np.pi), 'square': 1 / 6, 'triangle': 7 / 36}  # in squares of the area
_TOLERANCE = 0.15  # of it, relative
_LEAST_AREA = 4.0  # pixels; less is dust: the smallest thing covers 13
_SKEWED = 0.28  # half of the skewness of a triangle's height, 2 sqrt(2) / 5
_FULL, _ROUND = (1 + np.pi / 4) / 2, 0.68  # a circle's A / (w h) is as far from each
_LARGE = (RADII['small'][1] + RADII['large'][0]) / 2


class Kept(NamedTuple):
    """How much of a caption a picture keeps, in [0, 1] each; NaN for what the caption does not say."""

    count: float  # 1 if there are as many things as said
    colour: float  # share of the things said
    shape: float
    size: float  # share of the sizes said
    relation: float  # share of the relations said, between things of the colours and shapes said
    all: float  # 1 if all of these are 1


def read(image: Shaped[np.ndarray, '32 32 3']) -> list[Placed]:
    """The things in a picture, uint8 or floats in [-1, 1]; a white one is a thing of no scene."""
    from scipy import ndimage  # half a second to import

    value = image / 255 if image.dtype == np.uint8 else (np.clip(image, -1, 1) + 1) / 2
    codes = (value > 0.5) @ np.array([1, 2, 4])
    found = []
    for code, colour in _COLOURS.items():
        if not (codes == code).any():
            continue
        on = np.array([code >> i & 1 for i in range(3)], bool)
        cover = value[..., on].mean(-1) - (value[..., ~on].mean(-1) if not on.all() else 0)
        labelled: Any = ndimage.label(codes == code, np.ones((3, 3)))
        parts, n = labelled
        for i in range(1, n + 1):
            whole = ndimage.binary_dilation(parts == i, np.ones((3, 3)))
            placed = _measured(np.where(whole, np.clip(cover, 0, 1), 0), colour)
            found += [placed] if placed else []
    return found


def _measured(cover: Float[np.ndarray, '32 32'], colour: str) -> Placed | None:
    area = cover.sum()
    if area < _LEAST_AREA:
        return None
    columns, rows, middle = cover.sum(0) / area, cover.sum(1) / area, np.arange(len(cover)) + 0.5
    x, y = columns @ middle, rows @ middle
    variances = columns @ (middle - x) ** 2, max(rows @ (middle - y) ** 2, 1 / 12)  # a row of pixels has 1 / 12
    skewness = rows @ (middle - y) ** 3 / variances[1] ** 1.5
    inertia = (sum(variances) - 1 / 6) / area  # pixels smear by 1 / 12 along each axis
    shape = _shape(float(skewness), float(1 / (area * columns.max() * rows.max())), float(inertia))
    r = float(np.sqrt(area / _AREA.get(shape, np.pi)))
    return Placed(Thing('large' if r > _LARGE else 'small', colour, shape), float(x), float(y), r)


def _shape(skewness: float, full: float, inertia: float) -> str:
    shape = 'triangle' if skewness < -_SKEWED else 'square' if full > _FULL else 'circle' if full > _ROUND else 'blob'
    return shape if abs(inertia / _INERTIA.get(shape, np.inf) - 1) < _TOLERANCE else 'blob'


def kept(said: Said, found: Sequence[Placed]) -> Kept:
    """What is left of `said`, under the assignment of (the largest) things found to things said that keeps most."""
    largest = sorted(found, key=lambda placed: -_AREA.get(placed.thing.shape, np.pi) * placed.r**2)[:_MATCHED]
    slots = [*largest, *[None] * max(len(said.things) - len(found), 0)]
    best = max((_as(said, of) for of in itertools.permutations(slots, len(said.things))), key=lambda k: np.nansum(k))
    count = float(len(found) == len(said.things))
    return Kept(count, *best, float(count == 1 and np.nanmin(best) == 1))


def _as(said: Said, of: Sequence[Placed | None]) -> tuple[float, float, float, float]:
    """Colour, shape, size and relation if the things said are these."""
    things = [placed.thing if placed else Thing(None, '', '') for placed in of]
    pairs = list(zip(said.things, things, strict=True))
    right = [a.colour == b.colour and a.shape == b.shape for a, b in pairs]
    steps = zip(of, said.relations, of[1:], right, right[1:], strict=False)
    return (
        _share(a.colour == b.colour for a, b in pairs),
        _share(a.shape == b.shape for a, b in pairs),
        _share(a.size == b.size for a, b in pairs if a.size),
        _share(bool(a and b and i and j and relation(a, b) == said_so) for a, said_so, b, i, j in steps),
    )


def _share(right: Iterable[bool]) -> float:
    right = list(right)
    return float(np.mean(right)) if right else float('nan')
