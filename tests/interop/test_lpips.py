"""The two files that LPIPS is published as: where their numbers go, and every wrong file."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.errors import UserError
from diffusion_jax.interop import lpips
from diffusion_jax.objectives import distances
from tests import torch_files

CHANNELS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, **dict.fromkeys((17, 19, 21, 24, 26, 28), 512)}


def vgg():
    """Names and shapes, as torchvision has them."""
    shapes, c = {}, 3
    for i, o in CHANNELS.items():
        shapes |= {f'features.{i}.weight': (o, c, 3, 3), f'features.{i}.bias': (o,)}
        c = o
    return shapes | {'classifier.6.bias': (1000,)}


def lin(channels=(64, 128, 256, 512, 512)):
    return {f'lin{i}.model.1.weight': (1, c, 1, 1) for i, c in enumerate(channels)}


def write(path, shapes):
    """A file of tensors each full of one number, its place in the file."""
    tensors = {name: torch_files.full(str(i), shape) for i, (name, shape) in enumerate(shapes.items())}
    path.write_bytes(torch_files.zipped(tensors, {str(i): np.float32([i]) for i in range(len(shapes))}))
    return str(path)


def test_every_number_goes_to_its_place(tmp_path):
    params = lpips.read(write(tmp_path / 'vgg.pth', vgg()), write(tmp_path / 'lin.pth', lin()))
    convs = [conv for stage in params.stages for conv in stage]
    assert [len(stage) for stage in params.stages] == [2, 2, 3, 3, 3]
    assert [conv.kernel.shape[2:] for conv in convs] == [s[1::-1] for s in vgg().values() if len(s) == 4]
    assert [float(x) for conv in convs for x in (conv.kernel.max(), conv.bias.max())] == list(range(26))
    assert [float(w.min()) for w in params.w] == list(range(5))
    assert [w.shape for w in params.w] == [conv.bias.shape for conv in (stage[-1] for stage in params.stages)]
    assert {x.dtype for conv in convs for x in conv} == {jnp.dtype('float32')}


def test_kernels_keep_height_and_width(tmp_path):
    """PyTorch's [out, in, h, w] becomes [h, w, in, out]."""
    kernel = np.arange(64 * 3 * 9, dtype=np.float32).reshape(64, 3, 3, 3)
    names = list(vgg())
    tensors = {name: torch_files.full('1', shape) for name, shape in vgg().items()}
    tensors[names[0]] = torch_files.tensor(torch_files.storage('0', kernel.size), 0, kernel.shape, (27, 9, 3, 1))
    (tmp_path / 'vgg.pth').write_bytes(torch_files.zipped(tensors, {'0': kernel, '1': np.float32([0])}))
    params = lpips.read(tmp_path / 'vgg.pth', write(tmp_path / 'lin.pth', lin()))
    got = params.stages[0][0].kernel
    assert [float(got[i, j, k, n]) for i, j, k, n in [(0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]] == [
        1,
        3,
        9,
        27,
    ]


def test_wrong_files_are_one_line_that_says_what_is_missing(tmp_path):
    right, weights = write(tmp_path / 'vgg.pth', vgg()), write(tmp_path / 'lin.pth', lin())
    deep = write(tmp_path / 'vgg19.pth', {name.replace('.17.', '.18.'): s for name, s in vgg().items()})
    alex = write(tmp_path / 'alex.pth', lin((64, 192, 384, 256, 256)))
    cases = [
        ((deep, weights), r'vgg19.pth should be .*VGG16 \(vgg16-397923af.pth\), and has no features.17.weight, feat'),
        ((weights, right), r'lin.pth should be .*VGG16 .* and has no features.0.weight, features.2.weight'),
        ((right, right), r'vgg.pth should be .*\(lpips/weights/v0.1/vgg.pth\), and has no lin0.model.1.weight, lin1'),
        (
            (right, alex),
            r'alex.pth should be .*; its lin1.model.1.weight has the shape \(1, 192, 1, 1\), not \(1, 128,',
        ),
        ((str(tmp_path / 'no.pth'), weights), r'cannot read .*no.pth: No such file'),
    ]
    for files, message in cases:
        with pytest.raises(UserError, match=message):
            distances.lpips(*files)
