"""Any number of samples, in batches of one size. A sample depends on (key, its index) alone."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from diffusion_jax import distributed
from diffusion_jax.errors import UserError
from diffusion_jax.sharding import over_batch
from diffusion_jax.types import Array, Key, Params

Draw = Callable[[Params, Key, Array | None], Array]  # (params, keys [B], cond [B] or None) -> samples [B, ...]


def batches(
    draw: Draw,
    params: Params,
    key: Key,
    num: int,
    batch_size: int,
    mesh: Mesh,
    num_classes: int = 0,
    first: int = 0,
) -> Iterator[np.ndarray]:
    """Yields samples first .. num - 1, in order, in float32; class i % num_classes for sample i of a conditional model.

    Args:
        draw: from `build.build_draw`, jitted by the caller, so that a second call compiles nothing.
        params: of the model.
        key: sample i is drawn with fold_in(key, i).
        num: how many there are in all.
        batch_size: evaluated at once, rounded up to a multiple of the devices; padding of the last batch is dropped.
        mesh: devices to spread a batch over.
        num_classes: of a conditional model, else 0.
        first: index of the first to draw.

    Raises:
        UserError: if the model yields NaN.
    """
    devices = mesh.size
    batch_size = -(-min(batch_size, num) // devices) * devices
    sharding = over_batch(mesh)
    for start in range(first, num, batch_size):
        rows = np.arange(start, start + batch_size, dtype=np.int32)
        index = jax.make_array_from_callback(rows.shape, sharding, rows.__getitem__)
        part = distributed.gather(draw(params, _keys(key, index), index % num_classes if num_classes else None))
        if not np.isfinite(part).all():
            raise UserError(f'the samples from index {start} on hold NaN or infinity: the model diverged')
        yield part[: num - start]


def generate(
    draw: Draw,
    params: Params,
    key: Key,
    num: int,
    batch_size: int,
    mesh: Mesh,
    num_classes: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """All of `batches` as one array `[num, ...]`; `progress` is called after each with the number of samples done."""
    parts = []
    for part in batches(draw, params, key, num, batch_size, mesh, num_classes):
        parts.append(part)
        progress(sum(map(len, parts)))
    return np.concatenate(parts)


@jax.jit
def _keys(key, index):
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)
