"""Named weights in a file of any of the usual formats, read without PyTorch; and written as safetensors."""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from diffusion_jax.errors import UserError, one_line
from diffusion_jax.home import expanded
from diffusion_jax.interop import torch_file

_LFS = b'version https://git-lfs'
_MOST_HEADER = 100_000_000  # bytes, as of the format
# Names that only weights of one architecture have, the most telling first.
_SIGNS = {
    'down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight': (
        "diffusers' UNet2DConditionModel (--from=stable_diffusion)"
    ),
    'conv_in.weight time_embedding.linear_1.weight': "diffusers' UNet2DModel (--from=diffusers)",
    'model.diffusion_model.input_blocks.0.0.weight': 'a latent diffusion model of CompVis',
    'input_blocks.0.0.weight time_embed.0.weight': 'the U-Net of OpenAI (--from=iddpm, adm, openai_edm or openai_cm)',
    'input_blocks.0.0.weight middle_block.0.in_layers.0.weight': "OpenAI's classifier of noisy images",
    'temb.dense.0.weight mid.block_1.norm1.weight': 'the U-Net of ermongroup (--from=ddim)',
    'unet.emb_fourier.freqs logvar_fourier.freqs': 'a network of EDM2 (--from=edm2)',
    'model.map_layer0.weight': 'a network of EDM (--from=edm)',
    'map_layer0.weight': 'a network of EDM (--from=edm)',
    'encoder.conv_in.weight decoder.conv_in.weight': 'an autoencoder',
    'x_embedder.proj.weight t_embedder.mlp.0.weight': 'a DiT or SiT (--from=dit or sit)',
    'features.0.weight classifier.0.weight': 'a VGG',
}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Weights by name, from safetensors, a state dict of PyTorch or an .npz of arrays: the content decides, not a name.

    bfloat16 stays bfloat16 (`jax.numpy.bfloat16`).

    Raises:
        UserError: if the file is not there, is cut short or damaged, holds a pointer of Git LFS instead of weights, or
            a pickle that wants to run code; if safetensors is not installed.
    """
    file = expanded(path)
    try:
        with file.open('rb') as opened:
            head = opened.read(64)
            size = file.stat().st_size
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    if head.startswith(_LFS):
        raise UserError(f'{path} is a pointer of Git LFS, and not the weights: run git lfs pull, or download the file')
    if _is_safetensors(head):
        return _read_safetensors(file, size)
    if file.suffix == '.pkl':
        raise UserError(f'{path} is a pickle, which runs code when it is opened: export it as docs/networks.md says')
    if file.suffix == '.npz':
        return _read_npz(file)
    return torch_file.read(path)


def found(folder: Path, names: Sequence[str]) -> Path:
    """The first of these files that a folder has.

    Raises:
        UserError: if it has none.
    """
    file = next((folder / name for name in names if (folder / name).exists()), None)
    if file is None:
        raise UserError(f'{folder} has no weights: one of {", ".join(names)}')
    return file


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and struct.unpack('<Q', head[:8])[0] < _MOST_HEADER and head[8:9] == b'{'


def _read_safetensors(path: Path, size: int) -> dict[str, np.ndarray]:
    safetensors = _library()
    try:
        with safetensors.safe_open(path, framework='numpy') as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    # Its errors are its own type; a dtype that NumPy has not is a TypeError.
    except Exception as error:
        raise UserError(
            f'{path} is no whole safetensors file of {size} bytes: {one_line(error)}; download it again'
        ) from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    # zipfile and NumPy raise many types.
    except Exception as error:
        raise UserError(f'{path} is no .npz of arrays that can be read: {one_line(error)}') from error


def about(path: Path) -> dict[str, str]:
    """What a readable file of safetensors says of itself; nothing for files of other formats."""
    with path.open('rb') as opened:
        if not _is_safetensors(opened.read(64)):
            return {}
    with _library().safe_open(path, framework='numpy') as file:
        return file.metadata() or {}


def write(path: Path, weights: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """Writes a safetensors file with this metadata.

    Raises:
        UserError: if safetensors is not installed.
    """
    _library()
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(w) for name, w in weights.items()}, path, dict(about))


def _library():
    try:
        import safetensors
    except ImportError as error:
        raise UserError('safetensors files need its library: pip install "diffusion_jax[convert]"') from error
    return safetensors


def sha256(path: str | Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    with expanded(path).open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def as_float32(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as float32, whatever floating type they were saved in; others stay."""
    return {n: w.astype(np.float32) if jnp.issubdtype(w.dtype, jnp.floating) else w for n, w in weights.items()}


def looks_like(names: Iterable[str]) -> str:
    """Which architecture has weights of these names, as far as is known here."""
    names = {*names}
    found = (what for signs, what in _SIGNS.items() if {*signs.split()} <= names)
    return next(found, f'nothing known here (its first weights are {", ".join(sorted(names)[:3])})')


def read_json(path: Path) -> dict:
    """The named values of a JSON file.

    Raises:
        UserError: if it is not there, or is none.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path} is no JSON file that can be read: {one_line(error)}') from error
    if not isinstance(content, dict):
        raise UserError(f'{path} is no JSON file that can be read: it holds no named values')
    return content
