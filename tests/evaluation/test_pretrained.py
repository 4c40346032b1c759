"""Features of networks: batches over all devices, what they are called, and what is said without a file of weights."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import pretrained, report
from diffusion_jax.evaluation.features import Outputs

X = np.random.default_rng(0).uniform(-1, 1, (21, 4, 4, 1)).astype(np.float32)
GREY = np.zeros((3, 32, 32, 1), np.float32)


def test_any_number_of_images_in_batches_over_all_devices():
    seen = []

    def run(params, x):
        seen.append(x.shape)
        rows = params * x.reshape(len(x), -1)
        return Outputs(rows, None, jnp.cumsum(rows, axis=1))

    outputs = pretrained.in_batches(run, jnp.float32(2), 3)
    want = 2 * np.round(127.5 * X.reshape(21, 16) + 127.5)  # as stored pictures
    for n in (21, 8, 1):
        rows, spatial, logits = outputs(X[:n])
        np.testing.assert_array_equal(rows, want[:n])
        assert spatial is None
        np.testing.assert_allclose(logits, want[:n].cumsum(axis=1), rtol=1e-6)
    assert seen == [(jax.device_count(), 4, 4, 1)]  # traced once, at a multiple of the devices


@pytest.fixture
def nets(monkeypatch):
    """Files that are no files: every network gives its input's mean per channel."""

    class Mean:
        dim = 3

        def apply(self, _, x):
            mean = x.mean((1, 2))
            return (mean, mean[:, :1], mean) if x.shape[1] == 299 else mean

    monkeypatch.setattr('diffusion_jax.interop.inception.read', lambda path: {})
    monkeypatch.setattr('diffusion_jax.interop.dinov2.read', lambda path: (Mean(), {}))
    monkeypatch.setattr(pretrained, 'InceptionV3', Mean)


def spec(name, **arguments):
    return builders.build_features({'name': name, **arguments}, GREY)


def test_inception_is_named_hashed_and_resized(nets, tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(b'weights')
    ours = spec('inception', path=str(path), batch_size=8)
    assert ours.hash == hashlib.sha256(b'weights').hexdigest()[:16]
    assert (ours.name, ours.resize) == ('inception-2048', 'TensorFlow-1 bilinear to 299')
    assert spec('inception', path=str(path), resize='pytorch').resize == 'PyTorch bilinear to 299'
    rows, spatial, logits = ours.outputs(GREY)
    assert (rows.shape, spatial.shape, logits.shape) == ((3, 3), (3, 1), (3, 3))
    np.testing.assert_array_equal(rows, 0)  # 0 is stored as 128


def test_only_the_published_weights_give_an_fid(nets, monkeypatch, tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'')
    other = spec('inception', path=str(tmp_path / 'x.pth'))
    assert report.frechet_name(other) == 'Frechet distance (inception-2048)'
    names = [f(other) for f in (report.spatial_name, report.kernel_name, report.class_name)]
    assert all('inception-2048' in name for name in names)
    monkeypatch.setattr(pretrained, 'file_hash', lambda path: '6726825d0af5f729')
    fid = spec('inception', path=str(tmp_path / 'x.pth'))
    names = [f(fid) for f in (report.frechet_name, report.spatial_name, report.kernel_name, report.class_name)]
    assert names == ['FID', 'sFID', 'KID', 'Inception Score']


def test_dinov2_is_bicubic_at_224(nets, tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'')
    ours = spec('dinov2', path=str(tmp_path / 'x.pth'), batch_size=8)
    assert (ours.name, ours.resize) == ('dinov2-3', 'Pillow bicubic to 224')
    want = (128 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(ours.apply(GREY), np.tile(want, (3, 1)), atol=1e-5)


def test_without_a_file_the_message_names_it_and_the_stand_ins():
    files = {'inception': 'pt_inception-2015-12-05-6726825d.pth', 'dinov2': 'dinov2_vitl14_pretrain.pth'}
    for name, file in files.items():
        with pytest.raises(UserError, match=rf"'{name}' needs path=.*{file}.*pca.*pixels.*none of them is FID$") as e:
            spec(name)
        assert '\n' not in str(e.value)


def test_bad_specs_are_one_line(nets, tmp_path):
    with pytest.raises(UserError, match=r"features.resize='torch' is unknown; did you mean pytorch"):
        spec('inception', path='x', resize='torch')
    with pytest.raises(UserError, match='1 or 3 channels, not data'):
        builders.build_features({'name': 'dinov2', 'path': 'x'}, np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match='did you mean inception'):
        spec('inceptoin')
