"""LPIPS's weights, from the two files that they are published as."""

from pathlib import Path

import jax.numpy as jnp

from diffusion_jax.interop import torch_file
from diffusion_jax.nets.lpips import Conv, Params

# VGG16's convolutions, stage by stage: their places in torchvision's `features`, and channels.
_STAGES = (
    {0: (3, 64), 2: (64, 64)},
    {5: (64, 128), 7: (128, 128)},
    {10: (128, 256), 12: (256, 256), 14: (256, 256)},
    {17: (256, 512), 19: (512, 512), 21: (512, 512)},
    {24: (512, 512), 26: (512, 512), 28: (512, 512)},
)
_W = (64, 128, 256, 512, 512)


def read(vgg: str | Path, lin: str | Path) -> Params:
    """The parameters of `nets.lpips.lpips` in float32.

    Args:
        vgg: torchvision's VGG16 for ImageNet, https://download.pytorch.org/models/vgg16-397923af.pth.
        lin: `lpips/weights/v0.1/vgg.pth` of the `lpips` package (https://github.com/richzhang/PerceptualSimilarity).

    Raises:
        UserError: if a file cannot be read or is not what it should be, naming what it has not.
    """
    convs = {i: channels for stage in _STAGES for i, channels in stage.items()}
    shapes: dict[str, tuple[int, ...]] = {f'features.{i}.weight': (o, c, 3, 3) for i, (c, o) in convs.items()}
    shapes |= {f'features.{i}.bias': (o,) for i, (_, o) in convs.items()}
    v = torch_file.read_as(vgg, "torchvision's VGG16 (vgg16-397923af.pth)", shapes)
    w = torch_file.read_as(
        lin,
        "LPIPS's weights for it (lpips/weights/v0.1/vgg.pth)",
        {f'lin{i}.model.1.weight': (1, c, 1, 1) for i, c in enumerate(_W)},
    )

    def conv(i):
        # PyTorch's kernels are [out, in, h, w].
        return Conv(_float(v[f'features.{i}.weight'].transpose(2, 3, 1, 0)), _float(v[f'features.{i}.bias']))

    return Params(
        tuple(tuple(conv(i) for i in stage) for stage in _STAGES),
        tuple(_float(w[f'lin{i}.model.1.weight'].reshape(-1)) for i in range(len(_W))),
    )


def _float(x):
    return jnp.asarray(x, jnp.float32)
