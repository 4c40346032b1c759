"""Clips of a digit that moves at constant velocity between walls: videos with a known law.

A place (y, x) is in pixels from the middle of the first one. The centre of mass of frame t = 0, 1, .. is
`reflected(start + velocity t, walls)`, along each axis by itself: at a wall the digit turns back, between two frames as
well. Frames are drawn by linear interpolation, which keeps mass and centre of mass; what is left is the rounding to 256
levels, less than 0.01 pixels for digits of 8x8.
"""

from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from diffusion_jax.data import kinds
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source
from diffusion_jax.ranges import whole, within


class Walls(NamedTuple):
    """Between which a centre of mass moves, along both axes."""

    low: float
    high: float


def reflected(u: Float[np.ndarray, '...'], walls: Walls) -> Float[np.ndarray, '...']:
    """Where what would be at u without walls is: low + L - |L - (u - low) mod 2L|, L = high - low."""
    L = walls.high - walls.low
    return walls.low + L - np.abs(L - np.mod(u - walls.low, 2 * L))


def shifted(
    image: Shaped[np.ndarray, '*batch h w'], by: Float[np.ndarray, '*batch 2'], size: tuple[int, int]
) -> Float[np.ndarray, '*batch H W']:
    """Images moved by any real number of pixels, onto a frame of this size: each value goes to its four neighbours.

    Linear interpolation. If nothing leaves the frame, the centre of mass moves by exactly as much, and no mass is lost.
    """
    y, x = (
        np.maximum(1 - np.abs(np.arange(to)[:, None] - np.arange(n) - by[..., axis, None, None]), 0)
        for axis, (to, n) in enumerate(zip(size, image.shape[-2:], strict=True))
    )
    return y @ image @ np.swapaxes(x, -1, -2)


def centre(image: Shaped[np.ndarray, '*batch h w']) -> Float[np.ndarray, '*batch 2']:
    """The centre of mass (y, x) of intensities; of an image without any the middle."""
    y, x = image.sum(-1), image.sum(-2)  # mass by rows and by columns
    mass = y.sum(-1)
    there = mass > 0
    safe = np.where(there, mass, 1)
    of_axes = [np.where(there, a @ np.arange(n) / safe, (n - 1) / 2) for a in (y, x) for n in a.shape[-1:]]
    return np.stack(of_axes, axis=-1)


@dataclass(frozen=True)
class Clips:
    """Rows `[T, size, size, 1]` that are drawn when they are read."""

    images: Float[np.ndarray, 'k h w']  # intensities in [0, 1]
    chosen: Int[np.ndarray, ' n']
    start: Float[np.ndarray, 'n 2']
    velocity: Float[np.ndarray, 'n 2']  # pixels a frame
    frames: int
    size: int
    walls: Walls
    speeds: tuple[float, float]  # least and greatest, in pixels a frame

    def __len__(self) -> int:
        return len(self.chosen)

    def centres(self, index: Int[np.ndarray, ' m']) -> Float[np.ndarray, 'm t 2']:
        """The law: where the centres of mass are in each frame."""
        t = np.arange(self.frames)[:, None]
        return reflected(self.start[index][:, None] + self.velocity[index][:, None] * t, self.walls)

    def __getitem__(self, index: Int[np.ndarray, ' m'], /) -> UInt8[np.ndarray, 'm t h w 1']:
        image = self.images[self.chosen[index]][:, None]
        by = self.centres(index) - centre(image)
        image = np.broadcast_to(image, (*by.shape[:2], *image.shape[2:]))
        return np.round(255 * shifted(image, by, (self.size, self.size))).astype(np.uint8)[..., None]


def moving_digits(
    images: Source,
    frames: int = 8,
    size: int = 16,
    margin: float = 4.75,
    slowest: float = 0.5,
    fastest: float = 1.5,
    shrink: int = 1,
    n: int = 65_536,
    seed: int = 0,
) -> Source:
    """`n` clips: row i is a function of `seed`, of i and of the images' name, which holds their split.

    Image, start and direction are uniform, and so is the speed between `slowest` and `fastest`.

    Args:
        images: grey pictures on black, such as 'digits' and 'mnist', drawn from with replacement; what is told of an
            image is told of its clip.
        frames: in [1, 2^15).
        size: of a frame, in pixels along both axes, in [2, 2^15).
        margin: from the outermost pixels to the walls, in [0, inf): at least as far as any image reaches from its
            centre of mass, so that it never leaves the frame.
        slowest: in [0, inf), in pixels a frame.
        fastest: in (0, inf), at most as far as from wall to wall: there is one reflection a frame then, no more.
        shrink: blocks of so many pixels along each axis become one, in [1, 2^15).
        n: in [1, 2^31).
        seed: in [0, 2^32).

    Raises:
        DataError: for pictures that are not grey, or reach beyond the margin.
        ValueError: an argument outside of its range.
    """
    whole('[1, 32768)', frames=frames, shrink=shrink)
    whole('[2, 32768)', size=size)
    whole('[1, 2147483648)', n=n)
    whole('[0, 4294967296)', seed=seed)
    within('[0, inf)', margin=margin, slowest=slowest)
    within('(0, inf)', fastest=fastest)
    walls = Walls(margin, size - 1 - margin)
    apart = walls.high - walls.low
    if not slowest <= fastest <= apart:
        raise ValueError(
            f'slowest={slowest} must be at most fastest={fastest}, and that at most {apart:g} pixels a frame, which is '
            f'from wall to wall for size={size}, margin={margin}'
        )
    patches = _patches(images, shrink)
    reach = _reach(patches)
    if reach > margin:
        raise DataError(f'{images.name}: an image reaches {reach:.2f} pixels from its centre of mass, margin={margin}')
    u = np.random.default_rng([seed, crc32(images.name.encode())]).random((n, 5))  # row i whatever n is
    chosen = (u[:, 0] * len(patches)).astype(np.int64)
    start = walls.low + apart * u[:, 1:3]
    speed, angle = slowest + (fastest - slowest) * u[:, 3:4], 2 * np.pi * u[:, 4:5]
    velocity = speed * np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    cond = None if images.condition is None else np.asarray(images.cond[np.arange(len(patches))])[chosen]
    name = f'moving_digits of {images.name}, {frames}x{size}x{size}, {slowest:g} to {fastest:g} px, n={n},seed={seed}'
    clips = Clips(patches, chosen, start, velocity, frames, size, walls, (slowest, fastest))
    return Source(clips, cond, kinds.video((frames, size, size, 1)), images.condition, name)


def _patches(images: Source, shrink: int) -> Float[np.ndarray, 'k h w']:
    """Intensities in [0, 1], means over blocks."""
    levels, shape = images.kind.levels, images.kind.shape
    if levels is None or len(shape) != 3 or shape[-1] != 1 or shape[0] % shrink or shape[1] % shrink:
        raise DataError(f'{images.name}: moving digits are grey pictures whose sides shrink={shrink} divides')
    x = images.x[np.arange(len(images.x))][..., 0] / np.float32(levels - 1)
    h, w = (side // shrink for side in shape[:2])
    return x.reshape(-1, h, shrink, w, shrink).mean((2, 4))


def _reach(patches: Float[np.ndarray, 'k h w']) -> float:
    """How far anything that is not black lies from the centre of mass, along an axis."""
    at = centre(patches)
    of_axes = [
        (np.abs(np.arange(patches.shape[1 + i]) - at[:, i, None]) * (patches > 0).any(2 - i)).max() for i in (0, 1)
    ]
    return float(max(of_axes))
