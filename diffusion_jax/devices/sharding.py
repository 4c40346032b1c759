"""The device mesh: batches split over all of it, the arrays of a run over its axis 'fsdp'."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from diffusion_jax.errors import UserError, one_line

LEAST_SIZE = 2**14  # elements: gathering a smaller array costs more than a copy of it on every device


def make_mesh(data: int = -1, fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of `data` x `fsdp` devices, by default of those of all processes; data = -1 takes as many as there are.

    Raises:
        UserError: if there are fewer devices, or, over several processes, more; if the chips are not connected so.
    """
    devices = jax.devices() if devices is None else devices
    rows = len(devices) // fsdp if data == -1 and fsdp > 0 else data
    n = rows * fsdp
    if rows < 1 or fsdp < 1 or n > len(devices):
        raise UserError(f'mesh.data={data}, mesh.fsdp={fsdp}, but there are {len(devices)} devices')
    if jax.process_count() > 1 and n < len(devices):
        raise UserError(
            f'mesh.data={data}, mesh.fsdp={fsdp} leaves out some of the {len(devices)} devices of all hosts'
        )
    try:  # Under Explicit, the default type, Linen modules fail.
        return jax.make_mesh((rows, fsdp), ('data', 'fsdp'), axis_types=(AxisType.Auto,) * 2, devices=devices[:n])
    # A torus of which neither axis, nor the two together, is so long; a part of the chips that is no box.
    except (NotImplementedError, AssertionError) as error:
        raise UserError(
            f'mesh.data={rows}, mesh.fsdp={fsdp} does not lie on these chips: {one_line(error):.120}'
        ) from error


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Sharding of what every device needs whole."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Sharding of arrays `[B, ...]`."""
    return NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))


def of_state(mesh: Mesh | AbstractMesh, shapes: Any, least_size: int = LEAST_SIZE) -> Any:
    """Shardings of a pytree of arrays (or their shapes), by one rule for parameters, averages, teachers and optimiser.

    An array of `least_size` elements or more is split over 'fsdp' along its longest axis that divides by it; all others
    are on every device.
    """
    n = mesh.shape['fsdp']

    def sharding(a):
        divisible = [i for i, d in enumerate(a.shape) if d % n == 0]
        if n == 1 or a.size < least_size or not divisible:
            return replicated(mesh)
        longest = max(divisible, key=lambda i: a.shape[i])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, 'fsdp'))

    return jax.tree.map(sharding, shapes)


def gathered(mesh: Mesh, tree: Any) -> Any:
    """The arrays of a tree, whole on every device; their gradients come back split as `of_state` has them.

    Without it the compiler may split the work on an array as the array is split, and move activations instead.
    """

    @jax.custom_vjp
    def gather(a):
        return jax.lax.with_sharding_constraint(a, replicated(mesh))

    def split(_, gradient):
        return (jax.lax.with_sharding_constraint(gradient, of_state(mesh, gradient)),)

    gather.defvjp(lambda a: (gather(a), None), split)
    return jax.tree.map(gather, tree)


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """The shapes of arrays with where they shall lie, as restoring a checkpoint wants them."""
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), shapes, shardings)


def check_batch(mesh: Mesh, batch_size: int, what: str, parts: int = 1) -> None:
    """Refuses a batch that does not divide over the mesh, each device's share into `parts` equal parts.

    Raises:
        UserError: naming the nearest sizes that do.
    """
    n = mesh.size * parts
    if batch_size % n:
        near = ' or '.join(str(m) for m in (batch_size // n * n, batch_size // n * n + n) if m)
        times = '' if parts == 1 else f' in {parts} parts'
        raise UserError(
            f'{what}={batch_size} does not divide over {mesh.size} devices{times}: use {near}, or set mesh.data'
        )


def put_batch(mesh: Mesh, host_batch):
    """A batch as global arrays, from this host's rows of it."""
    sharding = over_batch(mesh)
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), host_batch)


def spread(mesh: Mesh, whole: np.ndarray) -> jax.Array:
    """An array `[B, ...]` that every process has whole, split over all devices; B divides by their number."""
    return jax.make_array_from_callback(whole.shape, over_batch(mesh), whole.__getitem__)
