"""Files of every age and kind, against what was put into them; PyTorch itself writes some where it is installed."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.errors import UserError
from diffusion_jax.interop import torch_file
from tests import torch_files
from tests.torch_files import Call, Global, Persistent, ordered, storage, tensor

X = np.arange(12, dtype=np.float32)


def read(tmp_path, data):
    path = tmp_path / 'w.pth'
    path.write_bytes(data)
    return torch_file.read(path)


def test_a_zip_archive_with_strides_offsets_and_one_storage_for_two(tmp_path):
    s = storage('0', 12)
    got = read(
        tmp_path,
        torch_files.zipped(
            {
                'x': tensor(s, 0, (3, 4), (4, 1)),
                'transposed': tensor(s, 0, (4, 3), (1, 4)),
                'part': tensor(s, 5, (2, 2), (4, 2)),
                'number': tensor(storage('7', 1, 'Long', 'cuda:0'), 0, (), ()),
                'none': tensor(storage('8', 0), 0, (0, 3), (3, 1)),
            },
            {'0': X, '7': np.array([5]), '8': X[:0]},
        ),
    )
    x = X.reshape(3, 4)
    want = {'x': x, 'transposed': x.T, 'part': x[1:, 1::2], 'number': np.array(5), 'none': np.zeros((0, 3), np.float32)}
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], strict=True)
    assert np.shares_memory(got['x'], got['part'])


def legacy_tensors():
    """What tensors were pickled as: v2, v1, a parameter with flags, the state of a variable and of a tensor."""
    a, b = storage('94', 12, legacy=True), storage('23', 12, 'Short', legacy=True)
    v1 = Call(Global('torch._utils', '_rebuild_tensor'), (a, 2, (5,), (2,)))
    parameter = Global('torch.nn.parameter', 'Parameter')
    part = Persistent((*a.pid[:5], ('95', 4, 8)))  # a storage that is a view of another one
    return ordered(
        {
            'v2': tensor(a, 0, (12,), (1,)),
            'v1': v1,
            'short': Call(v1.function, (b, 1, (3, 2), (2, 1))),
            'parameter': Call(parameter, (v1,), (True, False, Call(torch_files.ORDERED_DICT, ()))),
            'variable': Call(parameter, (), (v1, None, None, True, False)),
            'tensor': Call(Global('torch', 'FloatTensor'), (), (a, 3, (2,), (1,))),
            'view': tensor(part, 1, (2,), (1,)),
        }
    )


def test_the_format_before_torch_1_6(tmp_path):
    short = np.arange(100, 112, dtype=np.int16)
    got = read(tmp_path, torch_files.legacy(legacy_tensors(), {'23': short, '94': X}))
    want = {'v2': X, 'short': short[1:7].reshape(3, 2), 'tensor': X[3:5], 'view': X[5:7]}
    want |= dict.fromkeys(('v1', 'parameter', 'variable'), X[2:12:2])
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], strict=True)


ONE = {'w': tensor(storage('0', 12), 0, (12,), (1,))}
HARMLESS = {'0': X}
REFUSED = {
    'command': (
        {'w': Call(Global('os', 'system'), ('touch HERE',))},
        'it needs os.system, and only tensors are read',
    ),
    'module': (Call(Global('torch.nn.modules.linear', 'Linear'), ()), 'needs torch.nn.modules.linear.Linear'),
    'builtin': ({'w': Call(Global('builtins', 'eval'), ('1',))}, 'needs builtins.eval'),
    'attribute': (
        {'w': Global('torch', 'FloatStorage.__class__')},
        'needs torch.FloatStorage.__class__',
    ),
    'source': ({'w': Persistent(('module', 1, 'f.py', 'code'))}, 'it holds a module, and only tensors are read'),
    'checkpoint': ({'model': ONE, 'epoch': 3}, "its 'model' is a dict, not a tensor"),
    'list': ([1], 'it holds a list, not named tensors'),
    'beyond': ({'w': tensor(storage('0', 12), 1, (12,), (1,))}, "'w' is not inside its storage"),
    'before': ({'w': tensor(storage('0', 12), -1, (2,), (1,))}, "'w' is not inside its storage"),
    'backwards': ({'w': tensor(storage('0', 12), 0, (2,), (-1,))}, "'w' is not inside its storage"),
    'conjugate': (
        {'w': Call(Global('torch._utils', '_rebuild_tensor_v2'), (*ONE['w'].args, {'conj': True}))},
        'a tensor is marked conj',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_only_named_tensors_are_read(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, why = REFUSED[name]
    for data in (torch_files.zipped(value, HARMLESS), torch_files.legacy(value, HARMLESS)):
        with pytest.raises(UserError, match=r'w\.pth is not a state dict of PyTorch that can be read: ') as error:
            read(tmp_path, data)
        assert why in str(error.value)
        assert '\n' not in str(error.value)
    assert os.listdir(tmp_path) == ['w.pth']


@pytest.mark.parametrize(
    ('data', 'why'),
    [
        (b'', 'neither a zip archive nor'),
        (b'<!DOCTYPE html>', 'neither a zip archive nor'),
        (torch_files.dumps(1), 'neither a zip archive nor'),
        (torch_files.zipped(ONE, HARMLESS)[:-40], 'neither a zip archive nor'),
        (torch_files.zipped(ONE, {'0': X[:11]}), "'w' is not inside its storage"),
        (torch_files.zipped(ONE, {}), 'no item named'),
        (torch_files.zipped(ONE, HARMLESS, b'big'), 'not little-endian'),
        (torch_files.legacy(ONE, HARMLESS)[:-1], "'w' is not inside its storage"),
    ],
)
def test_damaged_files_are_one_line(data, why, tmp_path):
    with pytest.raises(UserError, match=r'w\.pth is not a state dict') as error:
        read(tmp_path, data)
    assert why in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r'cannot read .*nowhere.pth: No such file'):
        torch_file.read(tmp_path / 'nowhere.pth')


@pytest.mark.parametrize('zipped', [True, False])
def test_what_torch_saves_is_what_it_saved(zipped, tmp_path):
    torch = pytest.importorskip('torch')
    x = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))  # its state dict has metadata
    tensors = {
        **{str(d): x.to(d) for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)},
        **{str(d): (9 * x).to(d) for d in (torch.int64, torch.int32, torch.int16, torch.int8, torch.bool)},
        'byte': (9 * x.abs()).to(torch.uint8),
        'transposed': x.permute(2, 0, 1),
        'part': x[1:3, ::2, 4],
        'expanded': x[:, :1].expand(4, 7, 5),
        'parameter': torch.nn.Parameter(x),
        'number': torch.tensor(3.0),
        'none': torch.zeros(0, 3),
    }
    state = net.state_dict()
    state.update(tensors)
    torch.save(state, tmp_path / 'w.pth', _use_new_zipfile_serialization=zipped)
    got = torch_file.read(tmp_path / 'w.pth')
    assert list(got) == list(state)
    for name, want in state.items():
        if want.dtype == torch.bfloat16:
            assert got[name].dtype == jnp.bfloat16
            got[name], want = got[name].astype(np.float32), want.float()
        np.testing.assert_array_equal(got[name], want.detach().numpy(), strict=True)
    assert np.shares_memory(got['part'], got['transposed'])


def test_torch_reads_the_hand_made_files_alike(tmp_path):
    """That is, they are such files."""
    torch = pytest.importorskip('torch')
    data = torch_files.legacy(legacy_tensors(), {'23': np.arange(12, dtype=np.int16), '94': X})
    got = read(tmp_path, data)
    want = torch.load(tmp_path / 'w.pth', weights_only=False)
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name].detach().numpy(), strict=True)
    read(tmp_path, torch_files.zipped(ONE, HARMLESS))
    np.testing.assert_array_equal(torch.load(tmp_path / 'w.pth')['w'], X)
