"""Images of any program measured: as an array in memory would be, against data, images and statistics."""

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.data import kinds
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure
from diffusion_jax.evaluation.features import pixels
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import references

RNG = np.random.default_rng(0)
SHAPE = (3, 2, 3)
SAMPLES, DATA = (RNG.integers(0, 256, (n, *SHAPE), np.uint8) for n in (80, 60))
PIXELS = {'name': 'pixels'}
FRECHET = 'Frechet distance (pixels-18)'


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))


def pngs(folder, x):
    folder.mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image).save(folder / f'{i:06d}.png')
    return folder


def source(x, name='x'):
    return Source(x, None, kinds.images(x.shape[1:]), None, name)


def test_a_folder_measures_as_the_array_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(references, '_AT_ONCE', 60)
    monkeypatch.setattr(measure, '_CHUNK', 60)
    reference = references.of_data(source(DATA), source(DATA[::-1]), PIXELS)
    images = references.images(pngs(tmp_path / 'x', SAMPLES), str(tmp_path), SHAPE)
    found = references.survey(images, 80, reference)
    x = Values(source(SAMPLES))
    expected = measure.survey([x[:60], x[60:]], 80, reference, (), 'unknown')
    assert found == expected
    in_one = measure.measure(x[:], reference, ())
    assert found.values[FRECHET] == in_one.values[FRECHET]
    first = references.survey(images, 50, reference)
    assert first.values[FRECHET] == measure.measure(x[:50], reference, ()).values[FRECHET]
    assert (first.protocol.n, first.protocol.seeds, first.protocol.conditions) == (50, (), 'unknown')


def test_images_as_reference_are_as_data(tmp_path):
    images = references.images(pngs(tmp_path / 'x', SAMPLES))
    np.savez(tmp_path / 'y.npz', arr_0=DATA)
    for path in (tmp_path / 'y.npz', pngs(tmp_path / 'y', DATA)):
        found = references.survey(images, 80, references.of_files(path, PIXELS, images.kind))
        in_memory = references.survey(images, 80, references.of_data(source(DATA), None, PIXELS))
        assert found.values == in_memory.values
        assert found.protocol.reference == f'folder/{path.name}/all (as they are, 3 channels, on white)'


def test_known_statistics_give_the_closed_form(tmp_path):
    """Samples m +- a_i e_i have the covariance diag(2 a_i^2 / (n - 1)), and of diagonal ones the distance is a sum."""
    level, a = 120, np.array([30, 60, 90])
    x = np.concatenate([level + np.diag(a), level - np.diag(a)]).astype(np.uint8).reshape(6, 1, 1, 3)
    np.save(tmp_path / 'x.npy', x)
    mean, std = level / 127.5 - 1, np.sqrt(2 / 5) * a / 127.5
    mu, sigma = np.array([0.5, 0.0, -0.25]), np.array([0.1, 0.2, 0.0])
    np.savez(tmp_path / 'stats.npz', mu=mu, sigma=np.diag(sigma**2))
    images = references.images(tmp_path / 'x.npy')
    reference = references.of_files(tmp_path / 'stats.npz', PIXELS, images.kind)
    found = references.survey(images, 6, reference)
    expected = np.sum((mean - mu) ** 2 + (std - sigma) ** 2)
    np.testing.assert_allclose(found.values['Frechet distance (pixels-3)'], expected, rtol=1e-6)
    assert [*found.values] == ['Frechet distance (pixels-3)', 'Frechet distance (pixels-3), standard error']
    assert found.protocol.reference.startswith('stats.npz (statistics, ')
    assert (found.protocol.reference_size, found.protocol.kernel_subsets) == (0, 'none')


def test_a_batch_of_adm_has_the_files_moments_and_the_images_neighbours(tmp_path):
    mu, sigma = np.zeros(18), np.eye(18)
    np.savez(tmp_path / 'adm.npz', arr_0=DATA, mu=mu, sigma=sigma)
    np.savez(tmp_path / 'fid.npz', mu=mu, sigma=sigma)
    images = references.images(pngs(tmp_path / 'x', SAMPLES))
    found = references.survey(images, 80, references.of_files(tmp_path / 'adm.npz', PIXELS, images.kind)).values
    of_moments = references.survey(images, 80, references.of_files(tmp_path / 'fid.npz', PIXELS, images.kind)).values
    of_images = references.survey(images, 80, references.of_data(source(DATA), None, PIXELS)).values
    assert found[FRECHET] == of_moments[FRECHET]
    for name in ('kernel distance (pixels-18)', 'precision (k=3)', 'coverage (k=5)'):
        assert found[name] == of_images[name]
    np.savez(tmp_path / 'other.npz', arr_0=DATA[:, :1], mu=mu, sigma=sigma)
    with pytest.raises(UserError, match=r'has images of shape \(1, 2, 3\), and the others have \(3, 2, 3\)'):
        references.of_files(tmp_path / 'other.npz', PIXELS, images.kind)


def test_channels_are_brought_to_the_datas_and_sizes_are_not(tmp_path):
    grey = pngs(tmp_path / 'x', SAMPLES[:4, ..., 0])
    assert references.images(grey).kind.shape == (3, 2, 1)
    images = references.images(grey, None, SHAPE)
    np.testing.assert_array_equal(images.x, np.repeat(SAMPLES[:4, ..., :1], 3, -1))
    for shape in ((2, 2, 3), (2,)):
        with pytest.raises(
            UserError, match=r'folder/x/all .* has images of shape \(3, 2, .\), and the others have \(2'
        ):
            references.images(grey, None, shape)


def test_features_of_the_data_need_data(tmp_path):
    np.savez(tmp_path / 'stats.npz', mu=np.zeros(18), sigma=np.eye(18))
    with pytest.raises(UserError, match=r"config.eval.features: 'pca' is made from the data, which a file of stat"):
        references.of_files(tmp_path / 'stats.npz', {'name': 'pca', 'dim': 2}, kinds.images(SHAPE))
    assert pixels(SHAPE).name == references.of_files(tmp_path / 'stats.npz', PIXELS, kinds.images(SHAPE)).features.name
