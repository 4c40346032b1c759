"""Pictures of sound: the mel scale, what loudness and silence leave, and a classifier that tells tones apart."""

import jax
import numpy as np
import pytest
from scipy.signal import get_window

from diffusion_jax.data import kinds
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation import classifier, sounds

RATE = 8000
RNG = np.random.default_rng(0)


def tones(f, n=2048):
    return 0.3 * np.sin(2 * np.pi * np.asarray(f)[:, None] * np.arange(n) / RATE)


def test_the_mel_scale_and_its_bands():
    np.testing.assert_allclose(sounds.mel(1000), 1000, rtol=1e-4)  # where the scale meets Hz
    np.testing.assert_allclose(sounds.mel(700), 2595 * np.log10(2))
    bank = sounds.filterbank(RATE)
    assert bank.shape == (257, sounds.MELS)
    f = np.fft.rfftfreq(sounds.WINDOW, 1 / RATE)
    step = sounds.mel(4000) / (sounds.MELS + 1)
    inside = (sounds.mel(f) >= step) & (sounds.mel(f) <= 32 * step)
    np.testing.assert_allclose(bank.sum(1)[inside], 1)
    assert bank[0].max() == bank[-1].max() == 0
    peaks = 700 * (10 ** (step * np.arange(1, 33) / 2595) - 1)
    assert np.abs(f[bank.argmax(0)] - peaks).max() <= RATE / sounds.WINDOW / 2 + 1e-9


def test_a_tone_is_a_line_in_its_band_whatever_its_loudness():
    f = np.array([300.0, 1000.0, 3000.0])
    x = sounds.picture(tones(f), RATE)
    assert x.shape == (3, 8, sounds.MELS, 1)
    assert x.dtype == np.uint8
    step = sounds.mel(4000) / (sounds.MELS + 1)
    np.testing.assert_array_equal(x[:, 4, :, 0].argmax(1), np.round(sounds.mel(f) / step).astype(int) - 1)
    assert (x.max((1, 2, 3)) == 255).all()
    np.testing.assert_array_equal(sounds.picture(0.01 * tones(f), RATE), x)
    assert not sounds.picture(np.zeros((1, 2048)), RATE).any()


def test_each_sound_has_a_loudest_cell_of_its_own():
    y = tones([300.0, 1000.0])
    together = sounds.picture(y * np.array([[1.0], [0.01]]), RATE)
    np.testing.assert_array_equal(together, np.concatenate([sounds.picture(row[None], RATE) for row in y]))


def test_decibels_are_those_of_the_power():
    both = tones([1000.0]) + 10 ** (-30 / 20) * tones([3000.0])
    x = sounds.picture(both, RATE)[0, 4, :, 0].astype(float)
    alone = [sounds.picture(tones([f]), RATE)[0, 4, :, 0].argmax() for f in (1000.0, 3000.0)]
    bank = sounds.filterbank(RATE)
    window = get_window('hann', sounds.WINDOW)
    power = np.abs(np.fft.rfft(both[0, 3 * 256 : 3 * 256 + 512] * window)) ** 2 @ bank
    fall = 10 * np.log10(power[alone[1]] / power[alone[0]])
    assert -35 < fall < -25
    np.testing.assert_allclose((x[alone[1]] - x[alone[0]]) / 255 * sounds.RANGE, fall, atol=0.3)


def test_varied_sounds_are_later_and_noisier_and_a_function_of_their_row():
    y = np.zeros((2, 1024))
    y[0, 0], y[1, :512] = 1, tones([500.0], 512)
    source = sounds.varied(y, np.array([4, 7]), 10, RATE, 40, 'x')
    index = np.array([6, 1, 39])
    np.testing.assert_array_equal(source.x[index], source.x[np.arange(40)][index])
    np.testing.assert_array_equal(source.cond[index], [4, 7, 7])
    rows = [source.x._row(i) for i in range(0, 40, 2)]
    later = [int(np.abs(row).argmax()) for row in rows]
    assert 0 <= min(later) < max(later) <= 128
    noise = [10 * np.log10(np.sum((row - np.eye(1024)[at]) ** 2)) for row, at in zip(rows, later, strict=True)]
    assert -61 < min(noise) < max(noise) < -19


def test_noise_has_the_power_that_is_said():
    y = tones([440.0, 880.0], 8192)
    rest = sounds.noisy(y, 10.0, RNG) - y
    np.testing.assert_allclose((rest**2).mean(1) / (y**2).mean(1), 0.1, rtol=0.06)


def test_corruptions_are_what_they_say():
    y = tones([200.0, 3000.0], 4096)
    spoilt = {name: spoil(y) for name, spoil in sounds.corruptions(RATE).items()}
    np.testing.assert_array_equal(spoilt['as recorded'], y)
    np.testing.assert_array_equal(spoilt['backwards'], y[:, ::-1])
    energy = (spoilt['below 1 kHz'] ** 2).sum(1) / (y**2).sum(1)
    assert energy[0] > 0.98
    assert energy[1] < 1e-3
    np.testing.assert_allclose((spoilt['cut in half'] ** 2).sum(1) / (y**2).sum(1), 0.5, atol=0.01)
    assert not spoilt['cut in half'][:, 2200:].any()
    for decibels in (20, 10, 0):
        rest = spoilt[f'noise, {decibels} dB below'] - y
        np.testing.assert_allclose((rest**2).mean() / (y**2).mean(), 10 ** (-decibels / 10), rtol=0.1)


def test_sounds_of_a_source_are_what_its_files_hold():
    kind = kinds.waveform((16, 1), RATE, 2**16)
    levels = RNG.integers(0, 2**16, (5, 16, 1)).astype(np.uint16)
    y = sounds.heard(Source(levels, None, kind, None, 'x'))
    np.testing.assert_allclose(y, levels[..., 0] / 2**15 - 1.0, atol=1e-6)


@pytest.mark.slow
def test_a_classifier_of_pictures_tells_tones_apart(tmp_path):
    labels = RNG.integers(0, 3, 60).astype(np.int32)
    y = tones(np.array([300.0, 900.0, 2500.0])[labels] * RNG.uniform(0.9, 1.1, 60), 1024)
    source = sounds.varied(y, labels, 3, RATE, 30 * 32, 'tones')
    classifier.save(tmp_path / 'x.npz', classifier.fit(source, jax.random.key(0), 30, 32))
    judge = classifier.classifier(source.kind.shape, str(tmp_path / 'x.npz'))
    new = tones([310.0, 2400.0, 880.0], 1024)
    np.testing.assert_array_equal(sounds.said(judge, new, RATE), [0, 2, 1])
    np.testing.assert_array_equal(sounds.said(judge, 0.02 * new, RATE), [0, 2, 1])
    assert (sounds.said(judge, y, RATE) == labels).mean() > 0.95
