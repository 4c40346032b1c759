"""Images encoded once."""

import os

import numpy as np
import PIL.Image
import pytest
from etils import epath

from diffusion_jax.data import columns, folder, kinds, latent_cache
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


@pytest.mark.parametrize('changed', ['encoder', 'content', 'one value', 'number', 'damaged'])
def test_what_differs_is_encoded_anew(changed, tmp_path):
    latent_cache.encoded(source(), Means(), 'weights', tmp_path)
    if changed == 'damaged':
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:50])
    images = {'content': source(seed=1), 'number': source(n=149)}.get(changed, source())
    images.x[77, 2, 1, 0] ^= changed == 'one value'
    encode = Means()
    found = latent_cache.encoded(images, encode, 'others' if changed == 'encoder' else 'weights', tmp_path)
    np.testing.assert_array_equal(found[np.arange(len(found))], Means()(images.x))
    assert encode.seen == len(images.x)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match=r'encoded images cannot be kept in .*file'):
        latent_cache.encoded(source(), Means(), 'weights', tmp_path / 'file' / 'below')


class Stamped:
    """Images on disk, as far as the cache can see; whoever reads them is told."""

    def __init__(self, images, stamp):
        self.images, self.stamp, self.read = images, stamp, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.read += len(index)
        return self.images[index]


def test_images_with_a_stamp_are_not_read_to_be_known(tmp_path):
    """The second start reads none of them; another stamp encodes all anew."""
    for stamp, read in (('one', 150), ('one', 0), ('other', 150)):
        images = Stamped(source().x, stamp)
        latent_cache.encoded(source()._replace(x=images), Means(), 'weights', tmp_path)
        assert images.read == read
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize('changed', ['nothing', 'a picture', 'its time', 'split'])
def test_a_folder_on_disk_is_known_by_its_files(changed, tmp_path):
    """A picture in the middle; as long a file as before has another time."""
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    for i in range(8):
        PIL.Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(pictures / f'{i}.png')
    told = {'dir': str(pictures), 'cache': str(tmp_path / 'cache'), 'memory_limit': 0, 'test_share': 0.5}
    before = folder.folder(**told).x.stamp
    if changed == 'a picture':
        PIL.Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(pictures / '4.png')
    if changed == 'its time':
        os.utime(pictures / '4.png', ns=(0, 1))
    split = 'test' if changed == 'split' else 'train'
    assert (folder.folder(**told, split=split).x.stamp == before) is (changed == 'nothing')


@pytest.mark.parametrize('changed', ['nothing', 'a file', 'a time', 'split'])
def test_a_prepared_set_on_disk_is_known_by_its_files(changed, tmp_path):
    for name in ('a.array_record', 'b.array_record'):
        (tmp_path / name).write_bytes(b'12345')

    def stamp(split='train'):
        return columns.Column([], 'image', np.stack, epath.Path(tmp_path), split).stamp

    before = stamp()
    if changed == 'a file':
        (tmp_path / 'b.array_record').write_bytes(b'123456')
    if changed == 'a time':
        os.utime(tmp_path / 'b.array_record', (0, 1))
    assert (stamp('test' if changed == 'split' else 'train') == before) is (changed == 'nothing')
