"""Data, conditions and a network of somebody else: all that it takes to train on a new kind of data.

A config names them by where they are, `tests.newcomer.video` or `tests.newcomer.Tiny`; docs/extending.md explains them.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from diffusion_jax.data import conditions, kinds
from diffusion_jax.data.quantise import to_levels
from diffusion_jax.data.sources import Source
from diffusion_jax.nets.condition import Embedding
from diffusion_jax.types import Masked

N = 64


class Tiny(nn.Module):
    """Dense layers at every place, told the noise level, the condition and the mean over all places."""

    out_channels: int
    condition: Any = None
    width: int = 8

    @nn.compact
    def __call__(self, x, c_noise, cond=None, deterministic=True):
        """`x [B, ..., C]` -> `[B, ..., out_channels]`."""
        told = Embedding(self.width, self.width, self.condition, name='embedding')(c_noise, cond, x.shape[1:-1])
        h = x if told.image is None else jnp.concatenate([x, told.image], -1)
        h = nn.Dense(self.width)(h) + told.vector.reshape(len(x), *(1,) * (x.ndim - 2), -1)
        h = nn.silu(h + nn.Dense(self.width)(h.mean(tuple(range(1, x.ndim - 1)), keepdims=True)))
        return nn.Dense(self.out_channels)(h)


def _rng(split):
    return np.random.default_rng(sum(split.encode()))


def text(split: str = 'train') -> Source:
    """Vectors of 6 words `[6, 4]`, with as many numbers of words told as there are."""
    rng = _rng(split)
    words, table = rng.integers(0, 9, (N, 6)), np.random.default_rng(0).normal(size=(9, 4))
    told = Masked(words.astype(np.int32), np.arange(6) < rng.integers(1, 7, (N, 1)))
    x = (table[words] / 3).astype(np.float32)
    return Source(x, told, kinds.latents((6, 4)), conditions.of(conditions.tokens(6, 9)), f'text/{split}')


def video(split: str = 'train') -> Source:
    """Four frames of a bright row of pixels that moves down or up, its direction told."""
    up = _rng(split).integers(0, 2, N).astype(np.int32)
    row = (np.arange(4) * np.where(up, -1, 1)[:, None]) % 4
    x = np.where(np.arange(4) == row[..., None], 255, 30).astype(np.uint8)[..., None, None].repeat(4, -2)
    return Source(x, up, kinds.video((4, 4, 4, 1)), conditions.of_classes(2, ['down', 'up']), f'video/{split}')


def waveform(split: str = 'train') -> Source:
    """Sines `[32, 1]`, their frequency and phase told as a vector."""
    told = _rng(split).uniform(1, 3, (N, 2)).astype(np.float32)
    x = np.sin(told[:, :1] * np.arange(32) / 5 + told[:, 1:])[..., None].astype(np.float32)
    condition = conditions.of(conditions.vector(2))
    return Source(x, Masked(told, np.ones(N, bool)), kinds.waveform((32, 1), 8000), condition, f'waveform/{split}')


def audio(split: str = 'train') -> Source:
    """The same sound in 16 bits and two channels, its loudness and its channel told."""
    rng = _rng(split)
    loud, channel = (rng.integers(0, n, N).astype(np.int32) for n in (3, 2))
    tone = np.sin(np.arange(32) / 3) * (1 + loud[:, None]) / 4
    x = to_levels(tone[..., None] * (np.arange(2) == channel[:, None, None]), 2**16)
    condition = conditions.of_several({'loud': conditions.of_classes(3), 'channel': conditions.of_classes(2)})
    kind = kinds.waveform((32, 2), 8000, levels=2**16)
    return Source(x, {'loud': loud, 'channel': channel}, kind, condition, f'audio/{split}')


def latents(split: str = 'train') -> Source:
    """An autoencoder's `[4, 4, 4]`, unconditional."""
    x = _rng(split).normal(size=(N, 4, 4, 4)).astype(np.float32) / 2
    return Source(x, None, kinds.latents((4, 4, 4)), None, f'latents/{split}')


def flow(split: str = 'train') -> Source:
    """Velocities `[6, 6, 2]` with the obstacle they flow around told as an image."""
    wall = (_rng(split).uniform(size=(N, 6, 6, 1)) < 0.2).astype(np.float32)
    x = (1 - wall) * np.array([0.5, -0.2], np.float32)
    told = Masked(wall, np.ones(N, bool))
    return Source(x, told, kinds.field((6, 6, 2)), conditions.of(conditions.image((6, 6, 1))), f'flow/{split}')
