"""Pictures of one to three coloured shapes under captions, drawn one by one: `scene_grammar` is the language.

x is `[N, 32, 32, 3]` uint8 on black. A place `(x, y)` is in pixels from the left and from the top, and of a shape its
centre of mass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from diffusion_jax.data import conditions, kinds
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.scene_grammar import COLOURS, LENGTH, MOST, SHAPES, SIZES, WORDS, Said, Thing, caption
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import nearest
from diffusion_jax.ranges import whole
from diffusion_jax.types import Condition, Masked

SIZE = 32  # pixels along each axis
RGB: dict[str, tuple[int, int, int]] = dict(
    zip(COLOURS, ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)), strict=True)
)
RADII = {'small': (2.6, 2.9), 'large': (4.4, 4.7)}  # half of a shape's width and height
# Pairs that no picture of 'train' and 'test' holds, and every picture of 'held_out' does.
HELD_OUT = (('red', 'triangle'), ('blue', 'circle'), ('yellow', 'square'))
SEEN = tuple((colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in HELD_OUT)
SPLITS = ('train', 'test', 'held_out')

_TOP = {'circle': 1.0, 'square': 1.0, 'triangle': 4 / 3}  # of the centre of mass, in radii
_GAP = 2.0  # least distance of the boxes around two shapes: at least one pixel between them is black
_APART = 2.0  # pixels by which one axis has more of the way to a neighbour than the other
_FINE = 8  # rows in a row of pixels
_TRIES = 64


class Placed(NamedTuple):
    """A thing in a picture."""

    thing: Thing
    x: float
    y: float
    r: float


class Scene(NamedTuple):
    """What a picture shows, and what its caption says of it, in the same order."""

    placed: tuple[Placed, ...]
    said: Said


def relation(a: Placed, b: Placed) -> str:
    """Of a to b, along the axis on which their centres are farther apart."""
    dx, dy = b.x - a.x, b.y - a.y
    if abs(dx) >= abs(dy):
        return 'left of' if dx > 0 else 'right of'
    return 'above' if dy > 0 else 'below'


def draw(seed: int, index: int, split: str = 'train') -> Scene:
    """The scene of a number: one, two or three things, equally often, of pairs (colour, shape) that differ.

    A size is said three times in four.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    count = rng.integers(1, MOST + 1)
    first = [HELD_OUT[rng.integers(len(HELD_OUT))]] if split == 'held_out' else []
    others = [pair for pair in (SEEN + HELD_OUT if first else SEEN) if pair not in first]
    pairs = first + [others[i] for i in rng.permutation(len(others))[: count - len(first)]]
    pairs = [pairs[i] for i in rng.permutation(count)]
    sizes = [SIZES[i] for i in rng.integers(len(SIZES), size=count)]
    r = np.array([rng.uniform(*RADII[size]) for size in sizes])
    places = _places(rng, r, np.array([_TOP[shape] for _, shape in pairs]))
    things = [Thing(size, *pair) for size, pair in zip(sizes, pairs, strict=True)]
    placed = tuple(Placed(*row) for row in zip(things, *places.T.tolist(), r.tolist(), strict=True))
    said = (thing if rng.random() < 0.75 else thing._replace(size=None) for thing in things)
    return Scene(placed, Said(tuple(said), tuple(map(relation, placed, placed[1:]))))


_PAIRS = [np.triu_indices(k, 1) for k in range(MOST + 1)]  # of k things


def _places(rng: np.random.Generator, r: np.ndarray, top: np.ndarray) -> Float[np.ndarray, 'k 2']:
    """Uniform among those where the shapes stay apart and neighbours are clearly beside or above each other."""
    up, down = top * r, (2 - top) * r
    low, high = 1 + np.stack([r, up], 1), SIZE - 1 - np.stack([r, down], 1)
    a, b = _PAIRS[len(r)]
    while True:
        at = low + (high - low) * rng.random((_TRIES, len(r), 2))
        d = at[:, b] - at[:, a]
        beside = np.abs(d[..., 0]) - (r[a] + r[b])
        above = np.maximum(d[..., 1] - down[a] - up[b], -d[..., 1] - up[a] - down[b])
        step = np.abs(np.diff(at, axis=1))
        clear = np.abs(step[..., 0] - step[..., 1]) >= _APART
        good = (np.maximum(beside, above) >= _GAP).all(1) & clear.all(1)
        if good.any():
            return at[np.argmax(good)]


def render(placed: tuple[Placed, ...]) -> UInt8[np.ndarray, '32 32 3']:
    """The picture: of each pixel the share that a shape covers, exact along x, by eight rows along y, in its colour."""
    rows, pixels = (np.arange(SIZE * _FINE) + 0.5) / _FINE, np.arange(SIZE)
    image = np.zeros((SIZE, SIZE, 3))
    for (_, colour, shape), x, y, r in placed:
        half = r * _HALF_WIDTH[shape]((rows - y) / r)[:, None]
        covered = np.clip(np.minimum(pixels + 1, x + half) - np.maximum(pixels, x - half), 0, 1)
        image += covered.reshape(SIZE, _FINE, SIZE).mean(1)[..., None] * np.asarray(RGB[colour])
    return np.round(255 * np.minimum(image, 1)).astype(np.uint8)


# Half of the width at a height u below the centre, both in radii; below 0: nothing there.
_HALF_WIDTH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'circle': lambda u: np.sqrt(np.maximum(1 - u**2, 0)),
    'square': lambda u: np.where(np.abs(u) <= 1, 1.0, -1.0),
    'triangle': lambda u: np.where(u <= 2 / 3, (u + 4 / 3) / 2, -1.0),
}


def told() -> Condition:
    """What is told beside a picture: the words of a caption."""
    return conditions.of_words(WORDS, LENGTH)


def tokens(texts: list[str]) -> Masked:
    """Rows `[n, LENGTH]` of `told`.

    Raises:
        UserError: as its reader.
    """
    rows = [conditions.encode_words(text, WORDS, LENGTH) for text in texts]
    return Masked(np.stack([row.values for row in rows]), np.stack([row.mask for row in rows]))


@dataclass(frozen=True)
class _Drawn:
    """Rows that are drawn when they are indexed."""

    n: int
    rows: Callable[[Int[np.ndarray, ' m']], Any]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Int[np.ndarray, ' m'], /) -> Any:
        return self.rows(index)


def scenes(n: int = 65_536, seed: int = 0, split: str = 'train', condition: str | None = 'caption') -> Source:
    """`n` pictures that are drawn when they are read: row i is a function of `seed`, `split` and i alone.

    Args:
        n: in [1, 2^31).
        seed: in [0, 2^32).
        split: 'train' and 'test' have the pairs `SEEN`; in every picture of 'held_out' is at least one of `HELD_OUT`.
        condition: 'caption', or None for nothing.

    Raises:
        DataError: another split or condition.
        ValueError: another argument outside of its range.
    """
    whole('[1, 2147483648)', n=n)
    whole('[0, 4294967296)', seed=seed)
    name = f'scenes/n={n},seed={seed}/{split}'
    if split not in SPLITS:
        raise DataError(f"scenes has no split '{split}'; {nearest(split, SPLITS)}")
    if condition not in (None, 'caption'):
        raise DataError(f"{name} can tell its 'caption' or nothing; got condition={condition!r}")

    def all_of(index):
        return [draw(seed, int(i), split) for i in index]

    x = _Drawn(n, lambda index: np.stack([render(scene.placed) for scene in all_of(index)]))
    kind = kinds.images((SIZE, SIZE, 3))
    if condition is None:
        return Source(x, None, kind, None, name)
    captions = _Drawn(n, lambda index: tokens([caption(scene.said) for scene in all_of(index)]))
    return Source(x, captions, kind, told(), name)
