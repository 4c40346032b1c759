"""Files that a user hands in: whatever is none that can be read is told in one line, which names it."""

import io

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.data import kinds
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.files import read_mask, read_samples

KIND = kinds.images((8, 8, 1))


def as_bytes(write, *arguments, **settings):
    file = io.BytesIO()
    write(file, *arguments, **settings)
    return file.getvalue()


def picture(form):
    return as_bytes(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save, form)


def bomb():
    """A bitmap that says it has 2^32 pixels."""
    content = bytearray(picture('BMP'))
    content[18:26] = (2**16).to_bytes(4, 'little') * 2
    return bytes(content)


DAMAGED = {
    'an archive.npy': as_bytes(np.savez, a=np.zeros((8, 8, 1))),
    'objects.npy': as_bytes(np.save, np.array([None]), allow_pickle=True),
    'too large.npy': as_bytes(np.save, np.zeros((8, 8, 1))).replace(b'(8, 8, 1)', b'(8, 8,9**9)'),
    'an open header.npy': as_bytes(np.save, np.zeros((8, 8, 1))).replace(b'}', b'('),
    'cut.npy': as_bytes(np.save, np.zeros((8, 8, 1)))[:200],
    'empty.npy': b'',
    'cut.png': picture('PNG')[:50],
    'garbled.png': picture('PNG').replace(b'IDAT', b'IDAX'),
    'bomb.bmp': bomb(),
    'cut.tiff': picture('TIFF')[:40],
}


@pytest.mark.parametrize('name', DAMAGED)
@pytest.mark.parametrize('read', [lambda path: read_samples(path, KIND), read_mask])
def test_damaged_files(read, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    with pytest.raises(DataError, match=r'^cannot read .*: it is no picture and no \.npy array$'):
        read(path)


def test_whole_files(tmp_path):
    np.save(tmp_path / 'x.npy', np.arange(64, dtype=np.uint8).reshape(8, 8, 1))
    (tmp_path / 'x.png').write_bytes(picture('PNG'))
    np.testing.assert_array_equal(*(read_samples(tmp_path / name, KIND) for name in ('x.npy', 'x.png')))
