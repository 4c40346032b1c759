"""Judges of recorded words: classifiers of pictures of sound, in which loudness leaves no trace.

A picture is what a mel filterbank makes of the power spectrum, in decibels below its loudest cell, in 256 levels; the
classifier, its features and its file are those of `evaluation.classifier`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from diffusion_jax.data import conditions, kinds
from diffusion_jax.data.quantise import from_levels
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation.features import Features
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.ranges import whole

MELS, WINDOW = 32, 512  # bands; samples of a window, of which half is a hop
RANGE = 60.0  # decibels from black to white


def mel(f: Any) -> Any:
    """Frequency in Hz on the mel scale: 2595 log10(1 + f / 700)."""
    return 2595 * np.log10(1 + np.asarray(f) / 700)


def filterbank(rate: int, bands: int = MELS, window: int = WINDOW) -> Float[np.ndarray, 'bins bands']:
    """Triangles that overlap by half, equally wide in mel to `rate / 2`; between the outer peaks they sum to 1."""
    at = mel(np.fft.rfftfreq(window, 1 / rate))[:, None] * (bands + 1) / mel(rate / 2)
    return np.maximum(1 - np.abs(at - np.arange(1, bands + 1)), 0)


def picture(y: Float[np.ndarray, 'n l'], rate: int) -> UInt8[np.ndarray, 'n f m 1']:
    """A frame for each hop, a band for each column; silence is 0, and of each sound the loudest cell 255."""
    from scipy.signal import stft  # a second to import

    _, _, c = stft(y, rate, 'hann', WINDOW, WINDOW // 2, axis=-1)
    power = np.moveaxis(np.abs(c[..., : y.shape[-1] * 2 // WINDOW]) ** 2, 1, 2) @ filterbank(rate)
    loudest = np.maximum(power.max((1, 2), keepdims=True), np.finfo(np.float64).tiny)
    decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-RANGE / 10)))
    heard = power.max((1, 2), keepdims=True) > 0
    return np.where(heard, np.round(255 * (1 + decibels / RANGE)), 0).astype(np.uint8)[..., None]


def heard(source: Source) -> Float[np.ndarray, 'n l']:
    """The sounds of a source of waveforms or spectra of them, in [-1, 1]."""
    values, kind = Values(source), source.kind
    return np.concatenate([sounds(kind.store(values[i : i + 500])) for i in range(0, len(values), 500)])


def sounds(stored: np.ndarray) -> Float[np.ndarray, 'n l']:
    """What files of sound hold, int16 `[n, L, 1]`, in [-1, 1]."""
    return stored[..., 0].astype(np.float32) / 2**15


def varied(y: Float[np.ndarray, 'n l'], label: Int[np.ndarray, ' n'], num: int, rate: int, n: int, name: str) -> Source:
    """The same, `n` rows of it: row i is sound i modulo their number, later by up to an eighth, with noise below it.

    Row i depends on i alone; the noise is 20 to 60 decibels below the sound.
    """
    whole('[1, 2147483648)', n=n)
    rows = _Varied(y, rate, n)
    label = label[np.arange(n) % len(y)]
    return Source(rows, label, kinds.images(rows[np.zeros(1, np.int64)].shape[1:]), conditions.of_classes(num), name)


@dataclass(frozen=True)
class _Varied:
    y: Float[np.ndarray, 'n l']
    rate: int
    n: int

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Int[np.ndarray, ' m'], /) -> UInt8[np.ndarray, 'm f k 1']:
        return picture(np.stack([self._row(int(i)) for i in index]), self.rate)

    def _row(self, i: int) -> Float[np.ndarray, ' l']:
        rng = np.random.default_rng(i)
        y = self.y[i % len(self.y)]
        later = rng.integers(len(y) // 8 + 1)
        y = np.concatenate([np.zeros(later, y.dtype), y[: len(y) - later]])
        return noisy(y[None], rng.uniform(20, 60), rng)[0]


def noisy(y: Float[np.ndarray, 'n l'], decibels: float, rng: np.random.Generator) -> Float[np.ndarray, 'n l']:
    """With white noise, whose power over the whole clip is so far below the sound's."""
    power = np.mean(y**2, axis=1, keepdims=True)
    return y + np.sqrt(power * 10 ** (-decibels / 10)) * rng.standard_normal(y.shape)


def corruptions(rate: int, seed: int = 0) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
    """Ways to spoil sounds `[n, L]`, by what a table calls them."""
    from scipy.signal import butter, sosfiltfilt

    def muffled(y):
        return sosfiltfilt(butter(4, 1000, fs=rate, output='sos'), y, axis=1)

    def half(y):
        power = np.cumsum(y**2, axis=1)
        return np.where(power < power[:, -1:] / 2, y, 0)  # the first half of its energy

    noises = {
        f'noise, {d:g} dB below': lambda y, d=d: noisy(y, d, np.random.default_rng(seed)) for d in (20.0, 10.0, 0.0)
    }
    return {'as recorded': lambda y: y, **noises, 'below 1 kHz': muffled, 'cut in half': half, 'backwards': _backwards}


def _backwards(y):
    return y[:, ::-1]


def seen(y: Float[np.ndarray, 'n l'], rate: int) -> Float[np.ndarray, 'n f m 1']:
    """The pictures of sounds as a judge takes them, in [-1, 1]."""
    return from_levels(picture(y, rate), 256)


def said(judge: Features, y: Float[np.ndarray, 'n l'], rate: int) -> Int[np.ndarray, ' n']:
    """The class that a judge hears in each sound."""
    return np.argmax(np.asarray(judge.outputs(seen(y, rate)).logits), axis=1)
