"""The device mesh: parameters replicated, batches split over `data`."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from diffusion_jax.errors import UserError


def make_mesh(data: int = -1) -> Mesh:
    """A mesh of `data` devices along the axis 'data'; -1 takes all.

    Raises:
        UserError: if there are fewer devices.
    """
    devices = jax.devices()
    n = len(devices) if data == -1 else data
    if not 1 <= n <= len(devices):
        raise UserError(f'mesh.data={data}, but there are {len(devices)} devices')
    # Under Explicit, the default type, Linen modules fail.
    return jax.make_mesh((n,), ('data',), axis_types=(AxisType.Auto,), devices=devices[:n])


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of parameters."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Sharding of arrays `[B, ...]`."""
    return NamedSharding(mesh, PartitionSpec('data'))


def check_batch(mesh: Mesh, batch_size: int, what: str) -> None:
    """Refuses a batch that does not divide over the mesh.

    Raises:
        UserError: naming the nearest sizes that do.
    """
    n = mesh.shape['data']
    if batch_size % n:
        near = ' or '.join(str(m) for m in (batch_size // n * n, batch_size // n * n + n) if m)
        raise UserError(f'{what}={batch_size} does not divide over {n} devices: use {near}, or set mesh.data')


def put_batch(mesh: Mesh, host_batch):
    """A batch as global arrays, from this host's rows of it."""
    sharding = over_batch(mesh)
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), host_batch)
