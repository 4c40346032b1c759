"""Slices of Cloud TPUs: how many chips, how they are connected, and what a chip has by Google's own pages.

Figures: the pages 'TPU v5e', 'TPU v5p', 'TPU v6e' and 'TPU7x (Ironwood)' of docs.cloud.google.com/tpu/docs.
The v4 is left out: without a TPU libtpu describes a chip of it as two devices, of which JAX makes no mesh.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from diffusion_jax.errors import UserError, nearest


class Chip(NamedTuple):
    """What the pages say of one chip."""

    topology: str  # what libtpu calls its kind
    hbm: float  # bytes
    peak: float  # bfloat16 FLOP/s
    bandwidth: float  # of the HBM, bytes/s
    egress: float  # bytes/s that it sends over all its links: half of what the pages call bidirectional
    devices: int  # that the compiler makes of it; they share all of the above
    mxu: int  # rows and columns of a matrix unit
    page: str


class Slice(NamedTuple):
    """A slice that can be rented."""

    name: str
    chip: Chip
    shape: str  # of the torus or mesh of chips, as libtpu writes it

    @property
    def chips(self) -> int:
        """How many chips it has."""
        return math.prod(int(side) for side in self.shape.split('x'))

    @property
    def topology(self) -> str:
        """What libtpu calls it."""
        return f'{self.chip.topology}:{self.shape}'


_GIB = 2.0**30
CHIPS = {
    'v5litepod': Chip('v5e', 16 * _GIB, 197e12, 819e9, 200e9, 1, 128, 'TPU v5e'),
    'v5p': Chip('v5p', 95 * _GIB, 459e12, 2765e9, 600e9, 1, 128, 'TPU v5p'),
    'v6e': Chip('v6e', 32 * _GIB, 918e12, 1638e9, 400e9, 1, 256, 'TPU v6e'),
    'tpu7x': Chip('tpu7x', 192 * _GIB, 2307e12, 7380e9, 600e9, 2, 256, 'TPU7x (Ironwood)'),
}
_FLAT = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_DEEP = ('2x2x1', '2x2x2', '2x2x4', '2x4x4', '4x4x4', '4x4x8', '4x8x8', '8x8x8', '8x8x16', '8x16x16')
# The number in a name: of chips, but of cores, two a chip, where there are three axes.
_SHAPES = {'v5litepod': (_FLAT, 1), 'v5p': (_DEEP, 2), 'v6e': (_FLAT, 1), 'tpu7x': (_DEEP, 2)}
# GKE's names of node pools.
_ACCELERATORS = {
    'tpu-v5-lite-podslice': 'v5litepod',
    'tpu-v5p-slice': 'v5p',
    'tpu-v6e-slice': 'v6e',
    'tpu7x': 'tpu7x',
}


def _made():
    for name, chip in CHIPS.items():
        shapes, times = _SHAPES[name]
        for shape in shapes:
            found = Slice('', chip, shape)
            yield found._replace(name=f'{name}-{times * found.chips}')


SLICES = {found.name: found for found in _made()}


def find(name: str) -> Slice:
    """The slice of this accelerator type, such as 'v5litepod-8'.

    Raises:
        UserError: if there is none, with those that come nearest.
    """
    if name in SLICES:
        return SLICES[name]
    kind, _, number = name.rpartition('-')
    if kind in CHIPS and number.isdigit():
        sizes = sorted(int(n.rpartition('-')[2]) for n in SLICES if n.rpartition('-')[0] == kind)
        near = sorted(sorted(sizes, key=lambda n: abs(math.log(n / max(int(number), 1))))[:2])
        raise UserError(f'there is no slice {name}: use {" or ".join(f"{kind}-{n}" for n in near)}')
    raise UserError(f'there is no slice {name}: {nearest(name, SLICES)}')


def of_place(spec: Mapping[str, Any]) -> Slice:
    """The slice that a place of the launcher's `--on` names.

    Raises:
        UserError: for another place than `tpu` and `gke`, or a slice that does not exist.
    """
    place = spec['name']
    if place == 'tpu':
        return find(str(spec.get('type', 'v5litepod-8')))
    if place != 'gke':
        raise UserError(f'--on={place}: only tpu and gke can be checked; XLA compiles for a GPU where there is one')
    accelerator, shape = str(spec.get('accelerator', 'tpu-v5-lite-podslice')), str(spec.get('topology', '2x4'))
    if accelerator not in _ACCELERATORS:
        raise UserError(f'--on=gke: there is no accelerator {accelerator}; {nearest(accelerator, _ACCELERATORS)}')
    kind = _ACCELERATORS[accelerator]
    if not re.fullmatch(r'\d+(x\d+)+', shape) or shape not in _SHAPES[kind][0]:
        raise UserError(f'--on=gke: {accelerator} has no topology {shape}; it has {", ".join(_SHAPES[kind][0])}')
    return next(s for s in SLICES.values() if s.chip is CHIPS[kind] and s.shape == shape)
