"""Judges of clips of one bright thing on black: does it move by the law, and is it the same thing in all frames?

Places are tracked by the centre of mass, and the law is `data.moving_digits.reflected`, constant velocity between
walls. No network is asked but by `said`, the digit classifier of `evaluation.classifier`. Clips x are `[n, T, H, W, 1]`
in [-1, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from diffusion_jax.data import kinds
from diffusion_jax.data.moving_digits import Walls, centre, reflected, shifted
from diffusion_jax.data.quantise import from_levels, to_levels
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation.features import Features
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.ranges import whole, within

FLOOR = 0.05  # of an intensity in [0, 1]; what is darker is black: a faint noise everywhere would draw to the middle
_GRID = 33  # starts and velocities of the search, each
_REFINED, _ROUNDS = 16, 8  # the best of them, and how often these are fitted


class Motion(NamedTuple):
    """The law that fits best, and how far it is from it: root mean squares over the frames, in pixels."""

    start: Float[np.ndarray, 'n 2']
    velocity: Float[np.ndarray, 'n 2']
    position_error: Float[np.ndarray, ' n']  # of places
    speed_error: Float[np.ndarray, ' n']  # of steps from frame to frame


def intensities(x: Float[np.ndarray, 'n t h w 1'], floor: float = FLOOR) -> Float[np.ndarray, 'n t h w']:
    """In [0, 1], and 0 below the floor, which is in [0, 1]."""
    within('[0, 1]', floor=floor)
    ink = (np.clip(x[..., 0], -1, 1) + 1) / 2
    return np.where(ink < floor, 0, ink)


def track(x: Float[np.ndarray, 'n t h w 1'], floor: float = FLOOR) -> Float[np.ndarray, 'n t 2']:
    """The centre of mass (y, x) in each frame; of a black one the middle."""
    return centre(intensities(x, floor))


def deviations(
    places: Float[np.ndarray, 'n t 2'], law: Float[np.ndarray, 'n t 2']
) -> tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
    """Root mean square distance of places, and of steps from frame to frame, of each clip; of a single frame no step's.

    Raises:
        ValueError: for no frames at all.
    """
    apart = places - law
    if not apart.shape[1]:
        raise ValueError('a distance of places needs a frame at least')
    return _rms(apart), _rms(np.diff(apart, axis=1))


def _rms(vectors):
    return np.sqrt((vectors**2).sum(-1).sum(1) / max(vectors.shape[1], 1))


def fit(places: Float[np.ndarray, 'n t 2'], walls: Walls, fastest: float) -> Motion:
    """Least squares over start and velocity, along each axis by itself.

    A grid of both is searched; from its best points a line is fitted to the places unfolded as that point has them,
    until the unfolding stays. The velocity along an axis is at most `fastest`, in (0, inf), so that no zigzag of
    reflections fits anything: clips need three frames and more to say much.
    """
    within('(0, inf)', fastest=fastest)
    t = np.arange(places.shape[1])
    starts = walls.low + (walls.high - walls.low) * np.linspace(0, 1, _GRID)
    p, v = (a.ravel() for a in np.meshgrid(starts, fastest * np.linspace(-1, 1, _GRID), indexing='ij'))
    tried = reflected(p[:, None] + v[:, None] * t, walls)

    def of_axis(y):
        square = ((y[:, None] - tried[None]) ** 2).sum(-1)
        best = np.argpartition(square, _REFINED, axis=1)[:, :_REFINED]
        return _refined(y[:, None], p[best], v[best], t, walls, fastest)

    found = [of_axis(places[..., axis]) for axis in (0, 1)]
    start, velocity = (np.stack(parts, axis=-1) for parts in zip(*found, strict=True))
    law = reflected(start[:, None] + velocity[:, None] * t[:, None], walls)
    return Motion(start, velocity, *deviations(places, law))


def _refined(y, p, v, t, walls, fastest):
    """The best (start, velocity) of each row of candidates `[n, k]`, fitted to y `[n, 1, T]`."""

    def square(p, v):
        return ((y - reflected(p[..., None] + v[..., None] * t, walls)) ** 2).sum(-1)

    middle, L = t - t.mean(), walls.high - walls.low
    least = square(p, v)
    for _ in range(_ROUNDS):
        turns = np.floor((p[..., None] + v[..., None] * t - walls.low) / L)  # walls passed
        u = turns * L + np.where(turns % 2 == 0, y, walls.low + walls.high - y)
        slope = np.clip((u * middle).sum(-1) / max((middle**2).sum(), 1), -fastest, fastest)
        level = u.mean(-1) - slope * t.mean()
        better = (found := square(level, slope)) < least
        p, v, least = np.where(better, level, p), np.where(better, slope, v), np.where(better, found, least)
    best = np.argmin(least, axis=1)[:, None]
    p, v = (np.take_along_axis(a, best, axis=1)[:, 0] for a in (p, v))
    turned = np.floor((p - walls.low) / L) % 2 == 1  # a start beyond a wall is one before it, the other way
    return reflected(p, walls), np.where(turned, -v, v)


def continued(
    places: Float[np.ndarray, 'n t 2'], truth: Float[np.ndarray, 'n t 2'], given: int
) -> tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
    """The `deviations` of what follows the first `given` frames, in [1, T), and of the steps into it."""
    whole('[1, inf)', given=given)
    position, _ = deviations(places[:, given:], truth[:, given:])
    _, speed = deviations(places[:, given - 1 :], truth[:, given - 1 :])
    return position, speed


def extrapolated(
    places: Float[np.ndarray, 'n t 2'], given: int, walls: Walls, fastest: float
) -> Float[np.ndarray, 'n t 2']:
    """Where the law that fits the first `given` frames has all of them."""
    motion = fit(places[:, :given], walls, fastest)
    t = np.arange(places.shape[1])[:, None]
    return reflected(motion.start[:, None] + motion.velocity[:, None] * t, walls)


def lawful(motion: Motion, slowest: float, fastest: float) -> Bool[np.ndarray, ' n']:
    """Within half a pixel of the law, and as fast as clips are, by a tenth of a pixel a frame."""
    speed = np.hypot(*motion.velocity.T)
    return (motion.position_error < 0.5) & (speed > slowest - 0.1) & (speed < fastest + 0.1)


def centred(x: Float[np.ndarray, 'n t h w 1'], floor: float = FLOOR) -> Float[np.ndarray, 'n t h w 1']:
    """Each frame moved so that its centre of mass is the frame's middle."""
    ink = intensities(x, floor)
    return 2 * np.clip(shifted(ink, _middle(ink) - centre(ink), ink.shape[2:]), 0, 1)[..., None] - 1


def _middle(ink):
    return (np.array(ink.shape[2:]) - 1) / 2


def shape_change(x: Float[np.ndarray, 'n t h w 1']) -> Float[np.ndarray, ' n']:
    """How much of the intensity is elsewhere in the next frame, both centred; the mean over a clip's steps.

    0 for what moves by whole pixels, 2 for equal masses that nowhere overlap; interpolation alone makes it about 0.13
    for digits of 8x8.
    """
    ink = intensities(centred(x), 0.0)
    steps = np.abs(np.diff(ink, axis=1)).sum((2, 3))
    return (steps / np.maximum(ink.sum((2, 3))[:, :-1], 1e-6)).mean(1)


def in_one_frame(source: Source, clips: int) -> Source:
    """Centred frames of the first clips, all frames of all, as pictures with the clip's label: what the judge sees."""
    whole('[1, 2147483648)', clips=clips)
    assert source.condition is not None
    frames, h, w, _ = source.kind.shape
    rows = _Centred(Values(source), frames, clips * frames)
    label = np.asarray(source.cond[np.arange(clips)]).repeat(frames)
    return Source(rows, label, kinds.images((h, w, 1)), source.condition, f'frames of {source.name}')


@dataclass(frozen=True)
class _Centred:
    values: Values
    frames: int
    n: int

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Int[np.ndarray, ' m'], /) -> UInt8[np.ndarray, 'm h w 1']:
        x = self.values[index // self.frames][np.arange(len(index)), index % self.frames]
        return to_levels(centred(x[:, None])[:, 0], 256)


def said(judge: Features, x: Float[np.ndarray, 'n t h w 1']) -> Int[np.ndarray, 'n t']:
    """The class that a judge sees in each frame, by itself."""
    frames = from_levels(to_levels(centred(x), 256), 256).reshape(-1, *x.shape[2:])
    return np.argmax(np.asarray(judge.outputs(frames).logits), axis=1).reshape(x.shape[:2])


def most_said(classes: Int[np.ndarray, 'n t']) -> Int[np.ndarray, ' n']:
    """The class of most frames of each clip, the lowest of equals."""
    return np.array([np.bincount(row).argmax() for row in classes])


def one_class(classes: Int[np.ndarray, 'n t']) -> Bool[np.ndarray, ' n']:
    """Whether it is the same in all frames."""
    return (classes == classes[:, :1]).all(1)


def single_frames(x: Float[np.ndarray, 'n t h w 1']) -> Float[np.ndarray, 'n h w 1']:
    """Frame i mod T of clip i: one of each clip, so that rows are independent."""
    return x[np.arange(len(x)), np.arange(len(x)) % x.shape[1]]


def single_steps(x: Float[np.ndarray, 'n t h w 1']) -> Float[np.ndarray, 'n h w 1']:
    """Half of the change to the next frame, of one frame of each clip."""
    return single_frames(np.diff(x, axis=1) / 2)


def corruptions(seed: int = 0) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
    """Ways to spoil clips, by what a table calls them; reversed in time they still obey the law."""

    def shuffled(x):
        order = np.random.default_rng(seed).permuted(np.tile(np.arange(x.shape[1]), (len(x), 1)), axis=1)
        return np.take_along_axis(x, order[..., None, None, None], axis=1)

    def jittered(x):
        by = np.random.default_rng(seed).normal(0, 0.5, (*x.shape[:2], 2))
        ink = intensities(x, 0.0)
        return 2 * np.clip(shifted(ink, by, ink.shape[2:]), 0, 1)[..., None] - 1

    def swapped(x):
        ink, half = intensities(x, 0.0), x.shape[1] // 2
        others = intensities(centred(np.roll(x, 1, axis=0), 0.0), 0.0)
        there = np.clip(shifted(others, centre(ink) - _middle(ink), ink.shape[2:]), 0, 1)[..., None]
        return np.concatenate([x[:, :half], 2 * there[:, half:] - 1], axis=1)

    def noisy(x):
        return np.clip(x + np.random.default_rng(seed).normal(0, 0.2, x.shape), -1, 1)

    return {
        'as they are': lambda x: x,
        'backwards': lambda x: x[:, ::-1],
        'frames shuffled': shuffled,
        'jitter of 0.5 px': jittered,
        'another digit half-way': swapped,
        'noise of 0.2': noisy,
        'first frame held': lambda x: np.repeat(x[:, :1], x.shape[1], axis=1),
    }
