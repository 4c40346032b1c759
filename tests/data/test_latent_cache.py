"""Images encoded once."""

import numpy as np
import pytest

from diffusion_jax.data import kinds, latent_cache
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source


def source(seed=0, n=150):
    x = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3)).astype(np.uint8)
    return Source(x, None, kinds.images((4, 4, 3)), None, 'a set')


class Means:
    """Means over 2x2 pixels, and how many images it has seen."""

    seen = 0

    def __call__(self, x):
        self.seen += len(x)
        return x.reshape(-1, 2, 2, 2, 2, 3).mean((2, 4)).astype(np.float32)


def test_they_are_encoded_once_and_all_of_them(tmp_path):
    images, encode = source(), Means()
    first = latent_cache.encoded(images, encode, 'weights', tmp_path)
    np.testing.assert_array_equal(first[np.arange(150)], Means()(images.x))
    again = latent_cache.encoded(images, encode, 'weights', tmp_path)
    np.testing.assert_array_equal(again[np.arange(150)], first[np.arange(150)])
    assert encode.seen == 150
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize('changed', ['encoder', 'content', 'number', 'damaged'])
def test_what_differs_is_encoded_anew(changed, tmp_path):
    latent_cache.encoded(source(), Means(), 'weights', tmp_path)
    if changed == 'damaged':
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:50])
    images = {'content': source(seed=1), 'number': source(n=149)}.get(changed, source())
    encode = Means()
    found = latent_cache.encoded(images, encode, 'others' if changed == 'encoder' else 'weights', tmp_path)
    np.testing.assert_array_equal(found[np.arange(len(found))], Means()(images.x))
    assert encode.seen == len(images.x)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match=r'encoded images cannot be kept in .*file'):
        latent_cache.encoded(source(), Means(), 'weights', tmp_path / 'file' / 'below')
