"""A run's train step and sampling loop, compiled for a slice of TPUs by libtpu; no TPU is needed."""

import contextlib
import importlib.util
import math
import os
import re
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from diffusion_jax import builders
from diffusion_jax.builders.sampling import check_draws
from diffusion_jax.data.pipeline import RawBatch
from diffusion_jax.data.sources import rows_of
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.training.assemble import assemble, shapes_of
from experiments.launch import collectives, hlo, program
from experiments.launch.collectives import Row
from experiments.launch.slices import Slice

_SIZES = {'B': 1, 'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}
INSTALL = "pip install -e '.[tpu]' -c constraints.txt"


class Memory(NamedTuple):
    """Bytes on one device."""

    arguments: float
    temporaries: float
    outputs: float  # without what lies where arguments lay
    code: float

    @property
    def total(self) -> float:
        """What has to fit."""
        return sum(self)


class Estimate(NamedTuple):
    """What the compiler says of a program for a slice, of one of its devices; nothing of it is measured."""

    what: str
    on: str  # the slice
    data: int
    fsdp: int
    rows: int  # on all devices
    memory: Memory
    fits: bool
    figures: program.Figures | None  # None where the compiler found that it does not fit, and so made no program
    collectives: list[Row]
    aliased: int  # arguments whose memory the results take over
    of_arguments: int
    xla: Mapping[str, float]  # its own counts: loops as one pass, what stays on the chip as traffic
    seconds: float  # of compiling
    versions: Mapping[str, str]


def devices_of(found: Slice) -> list[Any]:
    """The devices of a slice as libtpu describes them.

    Raises:
        UserError: if libtpu is not installed, or does not know the slice.
    """
    if importlib.util.find_spec('libtpu') is None:
        raise UserError(f"the TPU's compiler is not installed: {INSTALL}")
    os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # else it looks for a TPU's own network
    os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')  # as none of them opens a TPU
    os.environ.setdefault('TPU_LIBRARY_PATH', os.path.join(_folder(), 'libtpu.so'))
    try:
        with _silence():
            host = {'chips_per_host_bounds': (1, 1, 1)} if found.chips == 1 else {}
            return [*topologies.get_topology_desc(found.topology, 'tpu', **host).devices]
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise UserError(f'libtpu knows no slice {found.name} ({found.topology}): {one_line(error)}') from error


def _folder():
    (folder,) = importlib.util.find_spec('libtpu').submodule_search_locations  # pyright: ignore
    return folder


@contextlib.contextmanager
def _silence():
    """Without what libtpu writes, where there is no TPU, about the machine that it takes this one for."""
    kept = os.dup(2)
    with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def mesh_on(config: Mapping[str, Any], devices: list[Any]) -> Mesh:
    """The mesh of a run on these devices, its batch checked.

    Raises:
        UserError: as a run would.
    """
    train, (data, fsdp) = config['train'], (config['mesh'][name] for name in ('data', 'fsdp'))
    try:
        mesh = sharding.make_mesh(data, fsdp, devices)
    except UserError as error:
        n = len(devices)
        if fsdp < 1 or n % fsdp or data not in (-1, n // fsdp):
            raise
        near = ', '.join(map(str, sizes(devices)))
        raise UserError(f'{error}; on all of them lie mesh.fsdp={near}') from error
    sharding.check_batch(mesh, train['batch_size'], 'train.batch_size', train['accumulate'])
    return mesh


def sizes(devices: list[Any]) -> list[int]:
    """The values of `mesh.fsdp` that lie on all of these devices, ascending."""
    n = len(devices)
    return [size for size in range(1, n + 1) if n % size == 0 and _lies(size, devices)]


def _lies(fsdp, devices):
    try:
        return bool(sharding.make_mesh(-1, fsdp, devices))
    except UserError:
        return False


def train_step(config: Mapping[str, Any], experiment: builders.Experiment, mesh: Mesh) -> tuple[Any, int]:
    """The lowered step of a run, and the rows of its batch."""
    parts, size, first = assemble(config, experiment, mesh), config['train']['batch_size'], np.zeros(1, np.int64)
    row = RawBatch(experiment.source.x[first], rows_of(experiment.source, first))
    batch = jax.tree.map(lambda a: _rows(mesh, size, a), row)
    return parts.step.lower(parts.shapes, jax.eval_shape(lambda: jax.random.key(0)), batch), size


def sampling_loop(config: Mapping[str, Any], experiment: builders.Experiment, mesh: Mesh) -> tuple[Any, int]:
    """The lowered drawing of one batch of samples, and how many these are."""
    check_draws(experiment, '--sample')
    spec = config['sample']
    size = -(-spec['batch_size'] // mesh.size) * mesh.size
    draw = jax.jit(builders.build_draw(experiment, spec))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    shapes = shapes_of(experiment.init, mesh)
    index = jax.ShapeDtypeStruct((size,), jnp.int32, sharding=sharding.over_batch(mesh))
    return draw.lower(shapes, _rows(mesh, size, keys), index), size


def _rows(mesh, size, a):
    return jax.ShapeDtypeStruct((size, *a.shape[1:]), jax.typeof(a).dtype, sharding=sharding.over_batch(mesh))


def estimate(what: str, lowered: Any, rows: int, mesh: Mesh, found: Slice) -> Estimate:
    """Compiles, and reads what came out."""
    start = time.perf_counter()
    given = {
        'what': what,
        'on': found.name,
        'data': mesh.shape['data'],
        'fsdp': mesh.shape['fsdp'],
        'rows': rows,
        'versions': versions(),
    }
    arguments = jax.tree.leaves(lowered.in_avals)
    nothing = {'figures': None, 'collectives': [], 'aliased': 0, 'of_arguments': len(arguments), 'xla': {}}
    try:
        with _silence():
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        needed = _needed(str(error))
        if needed is None:
            raise
        memory = Memory(0, needed, 0, 0)
        return Estimate(**given, **nothing, memory=memory, fits=False, seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    sizes, module = compiled.memory_analysis(), hlo.parse(compiled.as_text())
    memory = Memory(
        sizes.argument_size_in_bytes,
        sizes.temp_size_in_bytes,
        sizes.output_size_in_bytes - sizes.alias_size_in_bytes,
        sizes.generated_code_size_in_bytes,
    )
    costs = compiled.cost_analysis() or {}
    names = {'flops': 'flops', 'bytes accessed': 'bytes', 'optimal_seconds': 'optimal_seconds'}
    read = {
        'figures': program.figures(module, found.chip.mxu),
        'collectives': collectives.rows(collectives.scheduled(module, mesh.size)),
        'aliased': module.aliased,
        'of_arguments': len(arguments),
        'xla': {ours: costs[theirs] for theirs, ours in names.items() if theirs in costs},
    }
    fits = memory.total <= found.chip.hbm / found.chip.devices
    return Estimate(**given, **read, memory=memory, fits=fits, seconds=seconds)


def versions() -> dict[str, str]:
    """Of what compiles."""
    names = ('jax', 'jaxlib', 'libtpu')
    return {name: metadata.version(name) for name in names if importlib.util.find_spec(name)}


def bytes_of_state(config: Mapping[str, Any], experiment: builders.Experiment, mesh: Mesh) -> float:
    """Bytes of a run's state on one device."""
    leaves = jax.tree.leaves(assemble(config, experiment, mesh).shapes)
    return sum(math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize for a in leaves)


def _needed(message: str) -> float | None:
    """The bytes that a program would have needed, from what the compiler says when they are too many."""
    for form in (r'\(([\d.]+)([BKMGT])\) exceeds', r'Used ([\d.]+)([BKMGT]) of'):
        if 'RESOURCE_EXHAUSTED' in message and (match := re.search(form, message)):
            return float(match[1]) * _SIZES[match[2]]
    return None
