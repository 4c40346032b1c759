"""Recorded words as clips of one length: as waveforms `[N, L, 1]`, or as spectra that are sound again (`spectra`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Int16

from diffusion_jax.data import conditions, features, kinds, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source
from diffusion_jax.data.spectra import Spectrum
from diffusion_jax.ranges import whole, within
from diffusion_jax.types import Condition, Masked

NUMERALS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
_AUDIO, _LABEL, _WORD = 'audio', 'label', 'word'


def recordings(
    sound: str,
    dir: str | None = None,
    split: str = 'train',
    condition: str | None = None,
    length: int = 8192,
    rate: int = 8000,
    peak: float | None = None,
    spectrum: Callable[[int], Spectrum] | None = None,
) -> Source:
    """Recordings of a set prepared by tensorflow-datasets, their ends cut off or silence put behind them.

    Args:
        sound: the set, such as 'fsdd'; its feature 'audio' is read, int16 of one channel and of any length.
        dir: as for `sources.tfds`.
        split: as there.
        condition: features told beside x as there, 'label+speaker'; 'word' is the label of a digit as the text of it,
            'seven'.
        length: L, samples of a clip, in [1, inf).
        rate: samples a second, in [1, inf); a set that says its own must have this one.
        peak: the greatest size that each recording is brought to, in (0, 1]; None leaves it as it is.
        spectrum: x is the clip's; None for the waveform itself, of 65,536 levels.

    Raises:
        DataError: as `sources.tfds`; for a set without such a feature, of another rate, or without digits to spell.
        ValueError: another argument outside of its range.
    """
    whole('[1, inf)', length=length, rate=rate)
    if peak is not None:
        within('(0, 1]', peak=peak)
    made = None if spectrum is None else spectrum(length)
    names = [] if condition is None else condition.split('+')
    read = [_LABEL if name == _WORD else name.partition(':')[0] for name in names]
    found, name, rows = sources.examples(sound, dir, split, [*dict.fromkeys([_AUDIO, *read])])
    _check_audio(sound, found, rate)
    told, cond = _told(sound, found, names, rows)
    clips = np.stack([_clip(row[_AUDIO], length, peak) for row in rows])
    name = f'{name}, {length} samples at {rate} Hz'
    if made is None:
        levels = (clips.astype(np.int32) + 2**15).astype(np.uint16)[..., None]
        return Source(levels, cond, kinds.waveform((length, 1), rate, 2**16), told, name)
    return Source(_Seen(clips, made), cond, kinds.spectrogram(made, rate), told, name)


def _check_audio(sound: str, found: Mapping[str, Any], rate: int) -> None:
    audio = found[_AUDIO]
    if len(audio.shape) != 1 or np.dtype(audio.np_dtype) != np.int16:
        raise DataError(f"'{sound}': recordings are int16 of one channel; 'audio' is {audio.shape} {audio.np_dtype}")
    own = getattr(audio, 'sample_rate', None)
    if own is not None and own != rate:
        raise DataError(f"'{sound}' has {own} samples a second, and rate={rate} was asked for")


def _clip(audio: Int16[np.ndarray, ' l'], length: int, peak: float | None) -> Int16[np.ndarray, ' L']:
    if len(audio) == 0:
        raise DataError('a recording holds no sound')
    y = np.asarray(audio, np.float64)
    loudest = np.abs(y).max()
    if peak is not None and loudest > 0:
        y = np.round(y * (peak * 32767 / loudest))
    y = y[:length]
    return np.pad(y, (0, length - len(y))).astype(np.int16)


def _told(
    sound: str, found: Mapping[str, Any], names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> tuple[Condition | None, Any]:
    """What is told, and the rows of it."""
    if _AUDIO in names:
        raise DataError(f"'{sound}': 'audio' is the sample itself, and cannot be told beside it")
    told = {n.partition(':')[0]: _word(sound, found) if n == _WORD else _feature(sound, found, n) for n in names}
    cond = {n: t.cast([row[_LABEL if n == _WORD else n] for row in rows]) for n, t in told.items()}
    if not told:
        return None, None
    if len(told) == 1:
        ((name, only),) = told.items()
        return only.condition, cond[name]
    return conditions.of_several({n: t.condition for n, t in told.items()}), cond


def _feature(sound, found, name):
    return features.told(sound, found, name, text_length=64)


def _word(sound, found) -> features.Told:
    if getattr(found[_LABEL], 'num_classes', None) != len(NUMERALS):
        raise DataError(f"'{sound}': words are told of the labels 0 .. 9, and its 'label' is {found[_LABEL]}")
    return features.Told(conditions.of_words(NUMERALS, 1), _spelled)


def _spelled(labels) -> Masked:
    return Masked(np.asarray(labels, np.int32)[:, None], np.ones((len(labels), 1), bool))


@dataclass(frozen=True)
class _Seen:
    """Clips as spectra, which are made when they are read: twice the numbers, and floats."""

    clips: Int16[np.ndarray, 'n l']
    spectrum: Spectrum

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: Int[np.ndarray, ' m'], /) -> np.ndarray:
        return self.spectrum.forward(self.clips[index] / 2**15)
