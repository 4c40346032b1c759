"""Samples for other programs: what is read back is what was drawn."""

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.data import kinds
from diffusion_jax.data.folder import folder
from diffusion_jax.errors import UserError
from diffusion_jax.inference.export import EXPORTS, check

X = np.random.default_rng(0).integers(0, 256, (12, 3, 2, 3), np.uint8)


@pytest.mark.parametrize('channels', [1, 3])
def test_adms_evaluator_has_three_channels(tmp_path, channels):
    path = EXPORTS['adm'].write(tmp_path / 'out.5', X[..., :channels])
    assert path == tmp_path / 'out.5_adm.npz'
    with np.load(path) as file:
        assert file.files == ['arr_0']
        assert file['arr_0'].dtype == np.uint8
        np.testing.assert_array_equal(file['arr_0'], X if channels == 3 else np.repeat(X[..., :1], 3, -1))


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_a_folder_of_pngs_is_read_back(tmp_path, channels):
    x = np.concatenate([X, X[..., :1]], -1)[..., :channels]
    path = EXPORTS['png'].write(tmp_path / 'out', x)
    np.testing.assert_array_equal(folder(str(path), 'all', channels=channels, cache=str(tmp_path)).x, x)
    with Image.open(path / '000011.png') as picture:
        assert picture.mode == {1: 'L', 3: 'RGB', 4: 'RGBA'}[channels]


def test_those_of_more_samples_do_not_stay(tmp_path):
    EXPORTS['png'].write(tmp_path / 'out', X)
    (tmp_path / 'out_png' / 'mine.png').touch()
    EXPORTS['png'].write(tmp_path / 'out', X[:2])
    assert {file.name for file in (tmp_path / 'out_png').iterdir()} == {'000000.png', '000001.png', 'mine.png'}


def test_only_images_are_exported():
    check('png', kinds.images((3, 2, 4)))
    check('adm', kinds.images((3, 2, 1), levels=17))
    for name, kind in (
        ('adm', kinds.images((3, 2, 4))),
        ('png', kinds.images((3, 2, 2))),
        ('png', kinds.points(2)),
        ('png', kinds.latents((3, 2, 3))),
        ('adm', kinds.video((5, 3, 2, 3))),
    ):
        with pytest.raises(UserError, match=f'--export={name} is of images with 1 or 3'):
            check(name, kind)
