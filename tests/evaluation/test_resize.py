"""Resizing against torch-fidelity's, PyTorch's and Pillow's, up and down, to sizes that divide nothing."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from diffusion_jax.evaluation import resize
from tests import fidelity

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 14, 9, 3)).astype(np.float32)


@pytest.mark.parametrize('side', [31, 6])
def test_tensorflow_is_torch_fidelitys(side):
    theirs = fidelity.module('interpolate_compat_tensorflow')
    torch = pytest.importorskip('torch')
    x = torch.tensor(IMAGES.transpose(0, 3, 1, 2))
    want = theirs.interpolate_bilinear_2d_like_tensorflow1x(x, (side, side), align_corners=False)
    want = (want.numpy().transpose(0, 2, 3, 1) - 128) / 128
    np.testing.assert_allclose(resize.tensorflow(side).apply(jnp.asarray(IMAGES)), want, atol=2e-6)


@pytest.mark.parametrize('side', [31, 6])
def test_pytorch_is_pytorchs(side):
    torch = pytest.importorskip('torch')
    x = torch.tensor(IMAGES.transpose(0, 3, 1, 2)) / 255
    want = 2 * torch.nn.functional.interpolate(x, (side, side), mode='bilinear', align_corners=False) - 1
    ours = resize.pytorch(side).apply(jnp.asarray(IMAGES))
    np.testing.assert_allclose(ours, want.numpy().transpose(0, 2, 3, 1), atol=2e-6)


@pytest.mark.parametrize('side', [31, 6])
def test_imagenet_is_pillows(side):
    def pillow(plane):
        return np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC))

    want = np.stack([np.stack([pillow(x[..., c]) for c in range(3)], -1) for x in IMAGES]).clip(0, 255) / 255
    want = (want - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(resize.imagenet(side).apply(jnp.asarray(IMAGES)), want, atol=2e-5)


def test_names_tell_them_apart():
    ways = [resize.tensorflow(299), resize.pytorch(299), resize.imagenet(299), resize.tensorflow(224)]
    assert len({way.name for way in ways}) == 4
