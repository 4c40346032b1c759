"""Samples in the forms that other programs measure."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from diffusion_jax.data.show import save_png
from diffusion_jax.errors import UserError
from diffusion_jax.types import Kind
from diffusion_jax.workdir.paths import AnyPath


def adm(out: AnyPath, x: UInt8[np.ndarray, 'n h w c']) -> AnyPath:
    """`OUT_adm.npz` with `arr_0` [n, h, w, 3], as ADM's evaluator reads it; grey images have three equal channels."""
    path = out.with_name(f'{out.name}_adm.npz')
    with path.open('wb') as file:
        np.savez(file, arr_0=np.broadcast_to(x, (*x.shape[:-1], 3)))
    return path


def png(out: AnyPath, x: UInt8[np.ndarray, 'n h w c']) -> AnyPath:
    """`OUT_png/000000.png` and so on, as pytorch-fid, clean-fid and torch-fidelity read a folder.

    What it held before of such files is replaced, so that those of more samples do not stay among them.
    """
    folder = out.with_name(f'{out.name}_png')
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob('[0-9]' * 6 + '.png'):
        old.unlink()
    for i, image in enumerate(x):
        save_png(folder / f'{i:06d}.png', image)
    return folder


class Export(NamedTuple):
    """A form, and the numbers of channels that it has."""

    write: Callable[[AnyPath, np.ndarray], AnyPath]
    channels: tuple[int, ...]


EXPORTS = {'adm': Export(adm, (1, 3)), 'png': Export(png, (1, 3, 4))}


def check(name: str, kind: Kind) -> None:
    """Refuses data that an export cannot hold, before they are drawn.

    Raises:
        UserError: for other data than images in uint8, or channels that the form does not have.
    """
    stored, channels = kind.store(np.zeros((1, *kind.shape), np.float32)), EXPORTS[name].channels
    if len(kind.shape) != 3 or stored.dtype != np.uint8 or kind.shape[-1] not in channels:
        raise UserError(
            f'--export={name} is of images with {" or ".join(map(str, channels))} channels, and this run has '
            f'{kind.name} of shape {kind.shape}'
        )
