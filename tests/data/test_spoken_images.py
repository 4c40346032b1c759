"""Pictures and recordings of the same digits, paired by their class."""

import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.data import conditions, kinds, recordings, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source

RNG = np.random.default_rng(0)
PICTURES, SOUNDS = RNG.integers(0, 3, 300).astype(np.int32), np.array([2, 0, 1, 0, 2, 2], np.int32)


def labelled(x, label, kind, num=3):
    return Source(x, label, kind, conditions.of_classes(num), 'a set')


@pytest.fixture
def _sets(monkeypatch):
    images = np.arange(300 * 4).reshape(300, 2, 2, 1) % 251
    sounds = np.arange(6, dtype=np.float32)[:, None].repeat(8, 1)[..., None]
    monkeypatch.setattr(
        sources, 'tfds', lambda *a: labelled(images.astype(np.uint8), PICTURES, kinds.images((2, 2, 1)))
    )
    monkeypatch.setattr(recordings, 'recordings', lambda *a: labelled(sounds, SOUNDS, kinds.waveform((8, 1), 8000)))


def of(**settings):
    return builders.build_source({'name': 'spoken_images', 'images': 'mnist', 'sound': 'fsdd', **settings})


@pytest.mark.usefixtures('_sets')
def test_a_picture_has_a_recording_of_its_class_and_each_is_as_likely():
    source = of()
    index = np.array([7, 299, 0])
    chosen = source.x[np.arange(300)][:, 0, 0].astype(int)
    np.testing.assert_array_equal(SOUNDS[chosen], PICTURES)
    np.testing.assert_array_equal(source.x[index][:, 0, 0], chosen[index])
    counts = np.bincount(chosen, minlength=6)
    np.testing.assert_allclose(counts[[0, 4, 5]] / (PICTURES == 2).sum(), 1 / 3, atol=0.12)
    np.testing.assert_array_equal(of().x[index], source.x[index])
    assert (of(seed=1).x[np.arange(300)] != source.x[np.arange(300)]).any()


@pytest.mark.usefixtures('_sets')
def test_the_picture_is_told_in_full():
    source = of()
    levels = (np.arange(300 * 4) % 251).reshape(300, 4)
    np.testing.assert_allclose(source.cond.values, levels / 127.5 - 1, atol=1e-6)
    assert source.cond.mask.all()
    assert source.condition.parts.shape == (4,)


@pytest.mark.usefixtures('_sets')
def test_what_does_not_go_together(monkeypatch):
    with pytest.raises(Exception, match='seed must be a whole number'):
        of(seed=-1)
    kind = kinds.waveform((8, 1), 8000)
    x = np.zeros((6, 8, 1), np.float32)
    monkeypatch.setattr(recordings, 'recordings', lambda *a: labelled(x, SOUNDS, kind, num=4))
    with pytest.raises(DataError, match='do not go together: pictures and recordings of the same labels'):
        of()
    monkeypatch.setattr(recordings, 'recordings', lambda *a: labelled(x, np.minimum(SOUNDS, 1), kind))
    with pytest.raises(DataError, match='there are pictures of class 2, and no recording of it'):
        of()
