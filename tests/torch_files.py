"""Files as `torch.save` writes them, written without PyTorch, down to the pickle's opcodes."""

import io
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np


class Global(NamedTuple):
    """A name that unpickling looks up."""

    module: str
    name: str


class Call(NamedTuple):
    """What unpickling gets from a call and, with a state, from its __setstate__."""

    function: Global
    args: tuple[Any, ...]
    state: Any = None


class Persistent(NamedTuple):
    """What the pickle leaves to its reader: a storage."""

    pid: Any


def dumps(value):
    return b'\x80\x02' + _dump(value) + b'.'


def _dump(value):
    match value:
        case Global():
            return f'c{value.module}\n{value.name}\n'.encode()
        case Call():
            built = _dump(value.function) + _dump(value.args) + b'R'
            return built if value.state is None else built + _dump(value.state) + b'b'
        case Persistent():
            return _dump(value.pid) + b'Q'
        case tuple():
            return b'(' + b''.join(map(_dump, value)) + b't'
        case list():
            return b'](' + b''.join(map(_dump, value)) + b'e'
        case dict():
            return b'}(' + b''.join(_dump(k) + _dump(v) for k, v in value.items()) + b'u'
        case str():
            return b'X' + struct.pack('<I', len(value)) + value.encode()
        case None | bool() | int():
            return pickle.dumps(value, 2)[2:-1]
    raise TypeError(value)


ORDERED_DICT = Global('collections', 'OrderedDict')


def ordered(items):
    """An OrderedDict as Python 2 pickled it, from a list of pairs."""
    return Call(ORDERED_DICT, ([[k, v] for k, v in items.items()],))


def storage(key, n, dtype='Float', location='cpu', legacy=False):
    pid = ('storage', Global('torch', f'{dtype}Storage'), key, location, n)
    return Persistent((*pid, None) if legacy else pid)


def tensor(storage, offset, size, stride):
    args = (storage, offset, size, stride, False, Call(ORDERED_DICT, ()))
    return Call(Global('torch._utils', '_rebuild_tensor_v2'), args)


def full(key, shape):
    """One number, seen in any shape."""
    return tensor(storage(key, 1), 0, shape, (0,) * len(shape))


def zipped(tensors, storages, byteorder=b'little'):
    """The format of torch 1.6 and later; `storages` are arrays by key."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        archive.writestr('x/data.pkl', dumps(tensors))
        archive.writestr('x/version', '3\n')
        archive.writestr('x/byteorder', byteorder)
        for key, value in storages.items():
            archive.writestr(f'x/data/{key}', np.asarray(value).tobytes())
    return out.getvalue()


def legacy(tensors, storages):
    """The format before."""
    head = [0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}, tensors, list(storages)]
    return b''.join(map(dumps, head)) + b''.join(struct.pack('<q', v.size) + v.tobytes() for v in storages.values())
