"""torch-fidelity's modules, an independent implementation of nearly all metrics.

It needs the extra `oracle`, but not the torchvision that it imports for the data sets and networks not used here.
"""

import importlib
import sys
from types import ModuleType

import pytest

_TORCHVISION = ('torchvision', 'torchvision.datasets', 'torchvision.transforms', 'torchvision.transforms.functional')


def module(name):
    """`torch_fidelity.NAME`, or the test is skipped."""
    pytest.importorskip('torch')
    if importlib.util.find_spec('torch_fidelity') is None:
        pytest.skip('torch-fidelity is not installed')
    with pytest.MonkeyPatch.context() as patch:
        for stub in _TORCHVISION:
            patch.setitem(sys.modules, stub, ModuleType(stub))
        for data_set in ('CIFAR10', 'CIFAR100', 'STL10'):
            setattr(sys.modules['torchvision.datasets'], data_set, object)
        return importlib.import_module(f'torch_fidelity.{name}')
