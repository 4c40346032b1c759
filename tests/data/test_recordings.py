"""Recordings as clips, on a set made here: what is cut, what is told, and the spectra that are sound again."""

import numpy as np
import pytest
from scipy.io import wavfile

from diffusion_jax import builders
from diffusion_jax.data import kinds, recordings, sources, spectra
from diffusion_jax.data.errors import DataError
from diffusion_jax.errors import UserError
from tests.spoken import declared

RNG = np.random.default_rng(0)
LENGTHS = (40, 64, 100, 1)
AUDIO = [RNG.integers(-3000, 3000, n).astype(np.int16) for n in LENGTHS]
ROWS = [{'audio': a, 'label': 7 - i, 'speaker': i % 2, 'take': i} for i, a in enumerate(AUDIO)]


@pytest.fixture
def _said(monkeypatch):
    def examples(name, dir, split, keep):
        for feature in keep:
            if feature not in declared():
                raise DataError(f'no feature {feature!r}')
        return declared(), f'{name}/1.0.0/{split}', [{k: row[k] for k in keep} for row in ROWS]

    monkeypatch.setattr(sources, 'examples', examples)


def of(**settings):
    return builders.build_source({'name': 'recordings', 'sound': 'words', 'length': 64, 'rate': 800, **settings})


@pytest.mark.usefixtures('_said')
def test_clips_are_cut_and_filled_with_silence():
    source = of()
    assert source.kind.shape == source.x.shape[1:] == (64, 1)
    stored = source.kind.store(source.x.astype(np.float32) / np.float32(32767.5) - 1)[..., 0]
    for row, audio in zip(stored, AUDIO, strict=True):
        n = min(len(audio), 64)
        np.testing.assert_array_equal(row[:n], audio[:n])
        np.testing.assert_array_equal(row[n:], 0)
    assert '64 samples at 800 Hz' in source.name


@pytest.mark.usefixtures('_said')
def test_spectra_are_the_same_sound_and_loudness_is_made_equal(tmp_path):
    spectrum = {'name': 'stft', 'window': 16, 'fold_frames': 2, 'fold_bins': 2}
    source, wave = of(spectrum=spectrum, peak=0.5), of(peak=0.5)
    index = np.array([2, 0])
    x = source.x[index]
    assert (x.shape[1:], x.dtype) == (source.kind.shape, np.float32) == ((4, 4, 8), np.float32)
    stored = source.kind.store(x)
    assert (stored.shape, stored.dtype) == ((2, 64, 1), np.int16)
    # Levels are 2 / 65535 apart, and int16 2 / 65536.
    np.testing.assert_allclose(stored, wave.x[index].astype(np.int32) - 2**15, atol=1)
    assert abs(np.abs(stored[1].astype(int)).max() - 0.5 * 32767) <= 1
    np.testing.assert_array_equal(source.kind.store(source.kind.read(stored)), stored)
    np.testing.assert_array_equal(source.kind.store(source.kind.read(stored[0])[None])[0], stored[0])
    np.testing.assert_array_equal(source.kind.read(x), x)
    source.kind.show(tmp_path / 'a', x)
    rate, played = wavfile.read(tmp_path / 'a.wav')
    assert rate == 800
    assert np.abs(played[:64].astype(int) - stored[0, :, 0]).max() <= 1
    for wrong in (stored[:, :63], stored.astype(np.float32)[:, :, None]):
        with pytest.raises(UserError, match=r'needs sounds of shape \(64, 1\), or spectra of \(4, 4, 8\); got'):
            source.kind.read(wrong)


@pytest.mark.usefixtures('_said')
def test_what_is_told():
    assert of().condition is None
    np.testing.assert_array_equal(of(condition='label').cond, [7, 6, 5, 4])
    both = of(condition='label+speaker')
    np.testing.assert_array_equal(both.cond['speaker'], [0, 1, 0, 1])
    assert {k: int(v) for k, v in both.condition.read('label=3+speaker=bob').items()} == {'label': 3, 'speaker': 1}
    with pytest.raises(UserError, match="'bop' is no class: there are 0 to 1; did you mean bob"):
        both.condition.read('label=3+speaker=bop')
    word = of(condition='word')
    np.testing.assert_array_equal(word.cond.values, [[7], [6], [5], [4]])
    read = word.condition.read('seven')
    np.testing.assert_array_equal(read.values, word.cond.values[0])
    assert read.mask.all()
    assert recordings.NUMERALS.index('nine') == 9
    with pytest.raises(UserError, match="'sevn' is not in the vocabulary; did you mean seven"):
        word.condition.read('sevn')
    np.testing.assert_array_equal(of(condition='word+speaker').cond['speaker'], [0, 1, 0, 1])


@pytest.mark.usefixtures('_said')
@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'condition': 'audio'}, "'audio' is the sample itself"),
        ({'condition': 'mood'}, "no feature 'mood'"),
        ({'condition': 'take'}, "'take' holds integers of no known number"),
        ({'length': 0}, 'length must be a whole number'),
        ({'rate': 0}, 'rate must be a whole number'),
        ({'peak': 1.5}, r'peak must be in \(0, 1\]'),
        ({'spectrum': {'name': 'stft', 'window': 48}}, '64 samples are no whole number of hops of 24'),
        ({'spectrum': {'name': 'cqt'}}, "name='cqt' is unknown"),
    ],
)
def test_what_recordings_refuse(settings, message):
    with pytest.raises(UserError, match=message):
        of(**settings)


@pytest.mark.parametrize(
    ('features', 'condition', 'rows', 'message'),
    [
        (declared(rate=16000), None, ROWS, 'has 16000 samples a second, and rate=800 was asked for'),
        (declared(dtype=np.float32), None, ROWS, 'recordings are int16 of one channel'),
        (declared(classes=3), 'word', ROWS, 'words are told of the labels 0 .. 9'),
        (declared(), None, [{'audio': np.zeros(0, np.int16)}], 'a recording holds no sound'),
    ],
)
def test_sets_that_are_refused(features, condition, rows, message, monkeypatch):
    monkeypatch.setattr(sources, 'examples', lambda *a: (features, 'words', rows))
    with pytest.raises(DataError, match=message):
        of(condition=condition)


def test_silence_stays_silent(monkeypatch):
    monkeypatch.setattr(sources, 'examples', lambda *a: (declared(), 'words', [{'audio': np.zeros(9, np.int16)}]))
    source = of(peak=0.9, spectrum={'name': 'stft', 'window': 16})
    assert not source.x[np.zeros(1, int)].any()
    assert kinds.spectrogram(spectra.stft(16)(64), 800).store(source.x[np.zeros(1, int)]).max() == 0
