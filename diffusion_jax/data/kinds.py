"""Kinds of data: what one sample is, how it is stored, read back, shown and augmented (`types.Kind`).

A data source names its kind; nothing else in the package asks what x is. A new kind is a function of this form.
"""

import numpy as np

from diffusion_jax.data import show
from diffusion_jax.data.quantise import from_levels, to_levels
from diffusion_jax.data.spectra import Spectrum
from diffusion_jax.errors import UserError
from diffusion_jax.types import Kind

__all__ = ['field', 'images', 'latents', 'points', 'spectrogram', 'tokens', 'video', 'waveform']


def images(shape: tuple[int, ...], levels: int | None = 256) -> Kind:
    """Pictures `[H, W, C]`; of at most 256 levels they are stored as uint8 in 0..255, whatever their number."""
    stored = None if levels is None else max(levels, 256)
    return _kind('images', shape, levels, stored, show.images)


def points(d: int) -> Kind:
    """Points of R^d."""
    return _kind('points', (d,), None, None, show.points)


def waveform(shape: tuple[int, ...], rate: int, levels: int | None = None) -> Kind:
    """Sound `[L, channels]`, `rate` samples a second; of 65,536 levels it is stored as int16."""
    kind = _kind('waveform', shape, levels, levels, show.sounds(rate))
    return _as_int16(kind) if levels == 2**16 else kind


def spectrogram(spectrum: Spectrum, rate: int) -> Kind:
    """A spectrum of sound of one channel, `rate` samples a second; files hold the sound, `[L, 1]` in int16."""
    sound = waveform((spectrum.length, 1), rate, levels=2**16)

    def heard(x):
        return spectrum.inverse(x)[..., None]

    def read(x):
        if x.shape[-3:] == spectrum.shape:
            return _floats(x)
        if x.shape[-2:] != sound.shape:
            raise UserError(f'needs sounds of shape {sound.shape}, or spectra of {spectrum.shape}; got {x.shape}')
        y = sound.read(x)[..., 0]
        return spectrum.forward(y.reshape(-1, spectrum.length)).reshape(*y.shape[:-1], *spectrum.shape)

    return Kind(
        'spectrogram',
        spectrum.shape,
        None,
        lambda x: sound.store(heard(x)),
        read,
        lambda path, x: sound.show(path, heard(x)),
        _unchanged,
    )


def video(shape: tuple[int, ...], levels: int | None = 256) -> Kind:
    """Frames `[T, H, W, C]`, stored as images are."""
    stored = None if levels is None else max(levels, 256)
    return _kind('video', shape, levels, stored, show.videos)


def latents(shape: tuple[int, ...]) -> Kind:
    """What an encoder makes of data, float32; shown channel by channel."""
    return _kind('latents', shape, None, None, show.images if len(shape) == 3 else show.nothing)


def field(shape: tuple[int, ...]) -> Kind:
    """Physical fields `[..., C]`, float32."""
    shown = {2: show.curves, 3: show.fields}.get(len(shape), show.nothing)
    return _kind('field', shape, None, None, shown)


def tokens(length: int, vocabulary: int, alphabet: str | None = None) -> Kind:
    """Text as `length` numbers below `vocabulary`, in [-1, 1] like any other quantised data.

    Shown as the characters of the `alphabet`, as many as there are numbers, or else as bytes in UTF-8.
    """

    def decode(sample):
        numbers = to_levels(sample, vocabulary).ravel()
        if alphabet is not None:
            return ''.join(alphabet[i] for i in numbers)
        return bytes(numbers.astype(np.uint8)).decode('utf-8', 'replace')

    def read(x):
        return _read_levels(x, vocabulary, may_be_a_mask=False)

    return _kind('tokens', (length, 1), vocabulary, vocabulary, show.texts(decode))._replace(read=read)


def _kind(name, shape, levels, stored, shown):
    if stored is None:
        return Kind(name, tuple(shape), levels, np.asarray, _floats, shown, _unchanged)

    def store(x):
        return to_levels(x, stored)

    def read(x):
        return _read_levels(x, stored)

    return Kind(name, tuple(shape), levels, store, read, shown, _unchanged)


def _as_int16(kind):
    """Levels 0 .. 65535 as the signed numbers of WAV files."""

    def store(x):
        return (kind.store(x).astype(np.int32) - 2**15).astype(np.int16)

    def read(x):
        return kind.read(x.astype(np.int32) + 2**15) if x.dtype == np.int16 else kind.read(x)

    return kind._replace(store=store, read=read)


def _unchanged(key, x):
    del key
    return x


def _floats(x):
    if not np.issubdtype(x.dtype, np.floating) or not np.isfinite(x).all():
        raise UserError(f'needs finite real numbers, as this data set has them; got {x.dtype}')
    return x.astype(np.float32)


def _read_levels(x, levels, may_be_a_mask=True):
    """Integers are levels, truth values the lowest and the highest, floats values in [-1, 1]."""
    if x.dtype == bool:
        return from_levels(x * (levels - 1), levels)
    if np.issubdtype(x.dtype, np.integer):
        if x.size and not (x.min() >= 0 and x.max() < levels):
            raise UserError(f'needs integers in 0 .. {levels - 1}; got {x.min()} .. {x.max()}')
        if may_be_a_mask and levels > 2 and x.size and x.min() >= 0 and x.max() == 1:
            raise UserError(f'holds the integers 0 and 1 alone: give truth values, or 0 .. {levels - 1}')
        return from_levels(x, levels)
    if not (np.issubdtype(x.dtype, np.floating) and (np.abs(x) <= 1).all()):
        raise UserError(f'needs integers in 0 .. {levels - 1} or floats in [-1, 1]')
    return x.astype(np.float32)
