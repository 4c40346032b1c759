"""Inception-v3 and its file against torch-fidelity's module with random weights, block by block."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from diffusion_jax.errors import UserError
from diffusion_jax.interop import inception as files
from diffusion_jax.nets import inception
from diffusion_jax.nets.inception import InceptionV3
from tests import fidelity, torch_files


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
    """(torch-fidelity's module, the file of its weights, with every number of batch normalisation random)."""
    torch = pytest.importorskip('torch')
    module = fidelity.module('feature_extractor_inceptionv3')
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('inception') / 'inception.pth'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'load_state_dict_from_url', lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, 'load_state_dict', lambda *_: None)
        net = module.FeatureExtractorInceptionV3('inception-v3-compat', ['2048', 'logits_unbiased'])
    with torch.no_grad():
        for name, w in net.state_dict().items():
            if w.ndim == 4:
                torch.nn.init.kaiming_normal_(w, nonlinearity='relu')
            elif name.endswith(('bn.weight', 'running_var')):
                torch.nn.init.uniform_(w, 0.5, 1.5)
            elif name.endswith(('bn.bias', 'running_mean')):
                torch.nn.init.normal_(w, std=0.2)
    torch.save(net.state_dict(), path)
    return net, path


@pytest.mark.parametrize('side', [7, 8])
def test_pooling_by_axes_is_by_windows(side):
    """Flax's windows are the oracle."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, side, 9, 3)) - 2, jnp.float32)
    np.testing.assert_array_equal(inception._max_pool(x), nn.max_pool(x, (3, 3), (2, 2)))
    np.testing.assert_array_equal(inception._same_max_pool(x), nn.max_pool(x, (3, 3), padding='SAME'))
    mean = nn.avg_pool(x, (3, 3), padding='SAME', count_include_pad=False)
    np.testing.assert_allclose(inception._average_pool(x), mean, rtol=1e-5)


@pytest.mark.parametrize('side', [7, 8])
def test_cut_convolutions_are_those_without_padding(side):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in [(2, side, 9, 3), (3, 3, 3, 4)])
    params = {'params': {'c': {'kernel': kernel, 'bias': jnp.zeros(4)}}}
    for layer, stride in [(inception._unpadded, 1), (inception._halved, 2)]:

        class Layer(nn.Module):
            layer: Any

            @nn.compact
            def __call__(self, x):
                return self.layer(x, 4, 'c')

        plain = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
        )
        np.testing.assert_allclose(Layer(layer).apply(params, x), nn.relu(plain), atol=1e-5)


def outputs(net, images):
    """{name: output} of every convolution before the blocks and of every block, and the network's own."""
    torch = pytest.importorskip('torch')
    kept, hooks = {}, []
    for name, layer in net.named_children():
        if name.startswith(('Conv2d', 'Mixed')):

            def _store(_layer, _inputs, output, name=name):
                kept[name] = output.numpy().transpose(0, 2, 3, 1).copy()

            hooks.append(layer.register_forward_hook(_store))
    with torch.no_grad():
        pool, logits = net(torch.tensor(images.transpose(0, 3, 1, 2)))
    for hook in hooks:
        hook.remove()
    return kept, pool.numpy(), logits.numpy()


def _top(module, _):
    return len(module.path) == 1


def check(net, path, images, batch):
    """Every block to 1e-4 of its own range; returns the number of spatial features."""
    params = files.read(path)
    x = (jnp.asarray(images, jnp.float32) - 128) / 128
    apply = jax.jit(lambda params, x: InceptionV3().apply(params, x, capture_intermediates=_top))
    (pool, spatial, logits), state = apply(params, x)
    blocks, want_pool, want_logits = outputs(net, images)
    assert len(blocks) == 5 + 11
    for name, want in blocks.items():
        # Our convolutions end before the rectifier.
        ours = np.maximum(state['intermediates'][name]['__call__'][0], 0)
        if name in ('Conv2d_2a_3x3', 'Conv2d_4a_3x3'):  # which the network cuts outside of the layer
            ours = ours[:, 1:-1, 1:-1]
        assert np.ptp(want) > 0.1
        np.testing.assert_allclose(ours, want, atol=1e-4 * np.abs(want).max(), err_msg=name)
    np.testing.assert_allclose(pool, want_pool, atol=1e-4 * np.abs(want_pool).max())
    np.testing.assert_allclose(logits, want_logits, atol=1e-4 * np.abs(want_logits).max())
    want = blocks['Mixed_6d'][..., :7]  # its first branch is branch1x1
    np.testing.assert_allclose(spatial, want.reshape(batch, -1), atol=1e-4 * np.abs(want).max())
    return spatial.shape[1]


@pytest.mark.slow
def test_every_block_on_small_images(theirs):
    net, path = theirs
    net.INPUT_IMAGE_SIZE = 107  # ends in 2 x 2 pixels
    images = np.random.default_rng(0).integers(0, 256, (2, 107, 107, 3), np.uint8)
    assert check(net, path, images, 2) == 7 * 5 * 5


@pytest.mark.slow
def test_every_block_on_full_images(theirs):
    net, path = theirs
    net.INPUT_IMAGE_SIZE = 299
    images = np.random.default_rng(1).integers(0, 256, (3, 299, 299, 3), np.uint8)
    assert check(net, path, images, 3) == 2023


def test_other_files_are_one_line(tmp_path):
    tensors = {'fc.weight': torch_files.full('0', (1000, 2048))}
    (tmp_path / 'x.pth').write_bytes(torch_files.zipped(tensors, {'0': np.ones(1, 'f4')}))
    with pytest.raises(UserError, match=r'x.pth should be FID.s Inception-v3 .*, and has no \S+, \S+, \S+ and 4\d\d'):
        files.read(tmp_path / 'x.pth')
