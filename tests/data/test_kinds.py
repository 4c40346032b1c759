"""Kinds of data: files hold what was drawn, what comes back from them means the same, and nothing shown ends a run."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from diffusion_jax.data import kinds
from diffusion_jax.data.quantise import from_levels, rounded, to_levels
from diffusion_jax.errors import UserError
from diffusion_jax.inference import media

RNG = np.random.default_rng(0)
KINDS = {
    'grey-images': kinds.images((4, 5, 1)),
    'images-of-17-levels': kinds.images((4, 4, 3), levels=17),
    'continuous-images': kinds.images((4, 4, 3), levels=None),
    'images-of-two-channels': kinds.images((4, 4, 2)),
    'points': kinds.points(3),
    'points-on-a-line': kinds.points(1),
    'sound': kinds.waveform((50, 1), 8000),
    'sound-in-16-bits': kinds.waveform((50, 2), 8000, levels=2**16),
    'video': kinds.video((3, 4, 4, 3)),
    'latents': kinds.latents((4, 4, 4)),
    'latent-sequences': kinds.latents((6, 4)),
    'fields': kinds.field((5, 5, 2)),
    'curves': kinds.field((9, 2)),
    'solid-fields': kinds.field((3, 3, 3, 2)),
    'text': kinds.tokens(7, 256),
}
STORED = {'sound-in-16-bits': np.int16, 'text': np.uint8}
FLOATS = [name for name, kind in KINDS.items() if kind.levels is None]


@pytest.mark.parametrize('name', KINDS)
def test_files_hold_what_was_drawn(name):
    """To the last bit where data are continuous; elsewhere the nearest level, which storing again does not change."""
    kind = KINDS[name]
    x = RNG.normal(size=(6, *kind.shape)).astype(np.float32)
    stored = kind.store(x)
    assert stored.dtype == (np.float32 if name in FLOATS else STORED.get(name, np.uint8))
    if name in FLOATS:
        np.testing.assert_array_equal(stored, x)
    else:
        apart = np.abs(kind.read(stored).astype(np.float64) - np.clip(x, -1, 1))
        assert apart.max() <= 1 / (max(kind.levels, 256) - 1) + 1e-7
    np.testing.assert_array_equal(kind.store(kind.read(stored)), stored)


def test_a_sound_of_16_bits_is_what_wav_files_hold():
    kind = KINDS['sound-in-16-bits']
    x = np.array([-1.0, 1.0, 0.0], np.float32).reshape(1, 3, 1)
    assert kind.store(x).ravel().tolist()[:2] == [-(2**15), 2**15 - 1]
    assert abs(int(kind.store(x)[0, 2, 0])) <= 1


@pytest.mark.parametrize('levels', [2, 3, 17, 256, 1000, 2**16])
def test_levels_come_back(levels):
    index = np.arange(levels)
    values = from_levels(index, levels)
    assert (values[0], values[-1], values.dtype) == (-1, 1, np.float32)
    np.testing.assert_allclose(np.diff(values.astype(np.float64)), 2 / (levels - 1), rtol=0.01)
    np.testing.assert_array_equal(to_levels(values, levels), index)
    off = (0.49 * 2 / (levels - 1)) * RNG.choice([-1, 1], levels)
    np.testing.assert_array_equal(rounded(values.astype(np.float64) + off, levels), values)
    assert to_levels(values, levels).dtype.itemsize == (1 if levels <= 256 else 2)
    np.testing.assert_array_equal(to_levels(np.array([-3.0, 7.0]), levels), [0, levels - 1])


@pytest.mark.parametrize(
    ('name', 'values', 'message'),
    [
        ('grey-images', np.array([0, 256]), r'needs integers in 0 .. 255; got 0 .. 256'),
        ('grey-images', np.array([-1, 3]), r'needs integers in 0 .. 255; got -1 .. 3'),
        ('grey-images', np.array([0, 1]), 'holds the integers 0 and 1 alone'),
        ('grey-images', np.array([0.5, 1.5]), r'needs integers in 0 .. 255 or floats in \[-1, 1\]'),
        ('text', np.array([300]), r'needs integers in 0 .. 255; got 300 .. 300'),
        ('points', np.array([1, 2]), 'needs finite real numbers'),
        ('latents', np.array([np.nan]), 'needs finite real numbers'),
        ('sound', np.array([np.inf]), 'needs finite real numbers'),
    ],
)
def test_what_fits_no_meaning_is_refused(name, values, message):
    with pytest.raises(UserError, match=message):
        KINDS[name].read(values)


SHOWN = {
    'grey-images': {'.png'}, 'images-of-17-levels': {'.png'}, 'continuous-images': {'.png'}, 'points': {'.png'},
    'images-of-two-channels': {'.png'}, 'points-on-a-line': {'.png'}, 'sound': {'.png', '.wav'},
    'sound-in-16-bits': {'.png', '.wav'}, 'video': {'.gif'}, 'latents': {'.png'}, 'latent-sequences': set(),
    'fields': {'.png'}, 'curves': {'.png'}, 'solid-fields': set(), 'text': {'.txt'},
}  # fmt: skip


@pytest.mark.parametrize('name', KINDS)
def test_what_shows_samples(name, tmp_path):
    kind = KINDS[name]
    media.save(tmp_path / 'deep' / 'x.y', kind, np.clip(RNG.normal(size=(5, *kind.shape)), -1, 1).astype(np.float32))
    files = {p.suffix: p for p in (tmp_path / 'deep').iterdir()}
    assert {*files} == SHOWN[name]
    assert all(p.stem == 'x.y' for p in files.values())
    if '.gif' in files:
        with Image.open(files['.gif']) as gif:
            assert gif.n_frames == 3
    if '.wav' in files:
        rate, sound = wavfile.read(files['.wav'])
        assert (rate, len(sound)) == (8000, 5 * (50 + 800))


def test_a_sound_is_what_was_drawn(tmp_path):
    x = RNG.uniform(-1, 1, (1, 50, 1)).astype(np.float32)
    media.save(tmp_path / 'x', KINDS['sound'], x)
    _, sound = wavfile.read(tmp_path / 'x.wav')
    np.testing.assert_allclose(sound[:50] / 32767, x[0, :, 0], atol=1 / 32767)
    assert not sound[50:].any()


def test_what_cannot_be_shown_ends_nothing(tmp_path, caplog):
    """A kind whose picture fails, a place that cannot be written, no samples at all."""

    def fails(path, x):
        raise ZeroDivisionError('no such picture')

    media.save(tmp_path / 'x', KINDS['points']._replace(show=fails), np.zeros((2, 3)))
    (tmp_path / 'file').write_text('')
    media.save(tmp_path / 'file' / 'x', KINDS['points'], np.zeros((2, 3)))
    media.save(tmp_path / 'y', KINDS['video'], np.zeros((0, 3, 4, 4, 3)))
    assert len(caplog.messages) == 3
    assert f'samples cannot be shown as {tmp_path}/x: no such picture' == caplog.messages[0]
