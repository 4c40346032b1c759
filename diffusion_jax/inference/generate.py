"""Any number of samples, in batches of one size. A sample depends on (key, its index) alone."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from diffusion_jax.devices import processes
from diffusion_jax.devices.sharding import spread
from diffusion_jax.errors import Diverged
from diffusion_jax.types import Draw, FindNonFinite, Key, Params


def _untraced(params, keys, cond):
    return None


def batches(
    draw: Draw,
    params: Params,
    key: Key,
    num: int,
    batch_size: int,
    mesh: Mesh,
    num_classes: int = 0,
    first: int = 0,
    trace: FindNonFinite = _untraced,
    whole: bool = False,
) -> Iterator[np.ndarray]:
    """Yields samples first .. num - 1, in order, in float32; class i % num_classes for sample i of a conditional model.

    Its noise is the same to the last bit whatever the batch size. What a network makes of it is so where every device
    has as many rows: XLA takes other kernels for other shapes, whose sums differ by rounding.

    Args:
        draw: from `build.build_draw`, jitted by the caller, so that a second call compiles nothing.
        params: of the model.
        key: sample i is drawn with fold_in(key, i).
        num: how many there are in all.
        batch_size: evaluated at once, rounded up to a multiple of the devices; padding of the last batch is dropped.
        mesh: devices to spread a batch over.
        num_classes: of a conditional model, else 0.
        first: index of the first to draw.
        trace: from `build.build_find_non_finite`, to say where a sample stopped being finite.
        whole: evaluate `batch_size` rows even where `num` is smaller.

    Raises:
        Diverged: if the model yields NaN.
    """
    devices = mesh.size
    batch_size = -(-(batch_size if whole else min(batch_size, num)) // devices) * devices
    for start in range(first, num, batch_size):
        rows = np.arange(start, start + batch_size, dtype=np.int32)
        index = spread(mesh, rows)
        cond = index % num_classes if num_classes else None
        part = processes.gather(draw(params, _keys(key, index), cond))[: num - start]
        bad = np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(1))
        if len(bad):
            row = jnp.asarray(rows[bad[:1]])
            step = trace(params, _keys(key, row), row % num_classes if num_classes else None)
            came_up = '' if step is None else f' that came up in the step from t = {step[0]:.4g} to t = {step[1]:.4g}'
            raise Diverged(f'sample {start + bad[0]} holds NaN or infinity{came_up}: the model diverged')
        yield part


def generate(
    draw: Draw,
    params: Params,
    key: Key,
    num: int,
    batch_size: int,
    mesh: Mesh,
    num_classes: int = 0,
    progress: Callable[[int], None] = lambda done: None,
    trace: FindNonFinite = _untraced,
) -> np.ndarray:
    """All of `batches` as one array `[num, ...]`; `progress` is called after each with the number of samples done."""
    parts = []
    for part in batches(draw, params, key, num, batch_size, mesh, num_classes, trace=trace):
        parts.append(part)
        progress(sum(map(len, parts)))
    return np.concatenate(parts)


@jax.jit
def _keys(key, index):
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)
