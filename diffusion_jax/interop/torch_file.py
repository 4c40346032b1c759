"""PyTorch's state-dict files as NumPy arrays, without PyTorch and without running what a pickle may ask for.

A file is a pickle of tensors, each of which is a view of a storage; the storages' bytes lie beside it. In the format of
torch 1.6 and later the file is a zip archive of `data.pkl` and `data/KEY`. Before, five pickles (a magic number, a
version, the machine, the tensors, the keys) were followed by the storages, each behind its length: torchvision's and
LPIPS's weights are still distributed so.
"""

import functools
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from diffusion_jax.errors import UserError, one_line
from diffusion_jax.home import expanded

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    'Float': np.dtype(np.float32),
    'Double': np.dtype(np.float64),
    'Half': np.dtype(np.float16),
    'BFloat16': jnp.dtype(jnp.bfloat16),
    'Long': np.dtype(np.int64),
    'Int': np.dtype(np.int32),
    'Short': np.dtype(np.int16),
    'Char': np.dtype(np.int8),
    'Byte': np.dtype(np.uint8),
    'Bool': np.dtype(np.bool_),
}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict that `torch.save` wrote, by name.

    The arrays are read-only; tensors that shared a storage still share it. A bfloat16 tensor has the dtype of
    `jax.numpy.bfloat16`. Nothing but tensors is read: neither a whole module nor a checkpoint with other things in it.

    Raises:
        UserError: if the file is not there, is none of PyTorch's, is damaged, or holds anything but named tensors.
    """
    try:
        data = expanded(path).read_bytes()
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    try:
        tensors, storage = _read_zip(data) if zipfile.is_zipfile(io.BytesIO(data)) else _read_legacy(data)
        storage = functools.cache(storage)  # so that tensors share what they shared
        return {name: _array(name, tensor, storage) for name, tensor in _named(tensors).items()}
    # A damaged or hostile pickle may raise anything.
    except Exception as error:
        raise UserError(f'{path} is not a state dict of PyTorch that can be read: {one_line(error)}') from error


def read_as(path: str | Path, what: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The tensors of a file that must hold the ones of `shapes` at least.

    Args:
        path: of the file.
        what: it should be, for the error.
        shapes: of what is needed, by name.

    Raises:
        UserError: as `read` and `check`.
    """
    tensors = read(path)
    check(path, what, tensors, shapes)
    return tensors


def check(
    path: str | Path, what: str, tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuses tensors that are not what they should be.

    Raises:
        UserError: if a tensor is missing or of another shape, naming it.
    """
    missing = [name for name in shapes if name not in tensors]
    if missing:
        more = f' and {len(missing) - 3} more' if len(missing) > 3 else ''
        raise UserError(f'{path} should be {what}, and has no {", ".join(missing[:3])}{more}')
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise UserError(f'{path} should be {what}; its {name} has the shape {tensors[name].shape}, not {shape}')


class _Storage(NamedTuple):
    key: str
    dtype: str
    start: int  # in elements: storages of old files may be views of others


class _Tensor:
    """What a pickle's tensor, variable or parameter becomes; `view` is (storage, offset, size, stride) in elements."""

    view: tuple[_Storage, int, tuple[int, ...], tuple[int, ...]]

    def __init__(self, data: '_Tensor | None' = None, *unused: Any):
        if data is not None:
            self.view = data.view

    def __setstate__(self, state):
        # Before torch 0.4 a tensor's state was its view; a variable's (data, ...), or its flags, which nobody wants.
        if len(state) == 4:
            self.view = state
        elif len(state) == 5:
            self.view = state[0].view


class _Unpickler(pickle.Unpickler):
    """Builds containers, numbers, strings and `_Tensor`s, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[str, Any] = {
            'collections.OrderedDict': OrderedDict,
            'torch.Size': tuple,
            'torch._utils._rebuild_tensor': self._rebuild_tensor,
            'torch._utils._rebuild_tensor_v2': self._rebuild_tensor,
            'torch._utils._rebuild_parameter': self._rebuild_parameter,
            'torch.nn.parameter.Parameter': _Tensor,
            'torch.autograd.variable.Variable': _Tensor,
        }
        for package in ('torch', 'torch.cuda'):
            known |= {f'{package}.{dtype}Storage': dtype for dtype in _DTYPES}
            known |= {f'{package}.{dtype}Tensor': _Tensor for dtype in _DTYPES}
        if f'{module}.{name}' not in known:
            raise pickle.UnpicklingError(f'it needs {module}.{name}, and only tensors are read')
        return known[f'{module}.{name}']

    def persistent_load(self, pid: Any) -> _Storage:
        if pid[0] != 'storage':
            raise pickle.UnpicklingError(f'it holds a {pid[0]}, and only tensors are read')
        _, dtype, key, _, _, *view = pid  # the other two: device and number of elements
        start = view[0][1] if view and view[0] is not None else 0
        return _Storage(str(key), dtype, start)

    def _rebuild_tensor(self, storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
        if metadata:
            raise pickle.UnpicklingError(f'a tensor is marked {", ".join(metadata)}')
        tensor = _Tensor()
        tensor.view = (storage, offset, size, stride)
        return tensor

    def _rebuild_parameter(self, data, requires_grad, hooks):
        return data


_Storages = Callable[[str], bytes]  # by key


def _read_zip(data: bytes) -> tuple[Any, _Storages]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    names = set(archive.namelist())
    roots = [name.removesuffix('data.pkl') for name in names if name.endswith('/data.pkl')]
    if len(roots) != 1:
        raise ValueError('a zip archive without data.pkl')
    (root,) = roots
    if f'{root}byteorder' in names and archive.read(f'{root}byteorder') != b'little':
        raise ValueError('its numbers are not little-endian')
    tensors = _Unpickler(io.BytesIO(archive.read(f'{root}data.pkl')), encoding='utf-8').load()
    return tensors, lambda key: archive.read(f'{root}data/{key}')


def _read_legacy(data: bytes) -> tuple[Any, _Storages]:
    file = io.BytesIO(data)

    def load():
        return _Unpickler(file, encoding='utf-8').load()

    try:
        magic = load()
    except Exception:
        magic = None
    if magic != _MAGIC or load() != _VERSION:
        raise ValueError('neither a zip archive nor in the format before torch 1.6')
    if not load()['little_endian']:
        raise ValueError('its numbers are not little-endian')
    tensors, keys = load(), load()
    # A storage's place is known only with the lengths of those before it, and these are in elements.
    storages = (tensor.view[0] for tensor in _named(tensors).values())
    itemsizes = {storage.key: _DTYPES[storage.dtype].itemsize for storage in storages}
    places, at = {}, file.tell()
    for key in map(str, keys):
        (length,) = struct.unpack_from('<q', data, at)
        at += 8
        places[key] = slice(at, at + length * itemsizes[key])
        at = places[key].stop
    return tensors, lambda key: data[places[key]]


def _named(tensors: Any) -> Mapping[str, _Tensor]:
    if not isinstance(tensors, Mapping):
        raise ValueError(f'it holds a {type(tensors).__name__}, not named tensors')
    for name, value in tensors.items():
        if not isinstance(value, _Tensor):
            raise ValueError(f'its {name!r} is a {type(value).__name__}, not a tensor')
    return tensors


def _array(name: str, tensor: _Tensor, storages: _Storages) -> np.ndarray:
    storage, offset, size, stride = tensor.view
    dtype, buffer = _DTYPES[storage.dtype], storages(storage.key)
    try:
        # NumPy itself checks that the view lies inside the buffer.
        return np.ndarray(
            size, dtype, buffer, (storage.start + offset) * dtype.itemsize, [s * dtype.itemsize for s in stride]
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f'{name!r} is not inside its storage: it is cut short or damaged') from error
