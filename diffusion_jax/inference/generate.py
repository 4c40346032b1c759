"""Any number of samples, in batches of one size. A sample depends on (key, its index) alone."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from diffusion_jax.devices import processes
from diffusion_jax.devices.sharding import spread
from diffusion_jax.errors import Diverged
from diffusion_jax.types import Draw, FindNonFinite, Key


def _not_looked_for(params, keys, index):
    return None


class Drawing(NamedTuple):
    """All that samples depend on beside the key: a model, how it is sampled, and where."""

    draw: Draw  # jitted, so that a second call compiles nothing
    params: Any  # what `draw` takes for them
    mesh: Mesh  # devices to spread a batch over
    batch_size: int  # evaluated at once, rounded up to a multiple of the devices; padding of the last one is dropped
    find_non_finite: FindNonFinite = _not_looked_for  # to say where a sample stopped being finite
    whole: bool = False  # evaluate `batch_size` rows even where fewer are wanted


def batches(drawing: Drawing, key: Key, num: int, first: int = 0) -> Iterator[np.ndarray]:
    """Yields samples first .. num - 1, in order, as they are drawn; sample i with fold_in(key, i).

    Its noise is the same to the last bit whatever the batch size. What a network makes of it is so where every device
    has as many rows: XLA takes other kernels for other shapes, whose sums differ by rounding.

    Raises:
        Diverged: if the model yields NaN.
    """
    draw, params, mesh, _, find_non_finite, _ = drawing
    size = at_once(drawing, num)
    for start in range(first, num, size):
        part = processes.gather(draw(params, *of_rows(mesh, key, start, size)))[: num - start]
        bad = np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(1))
        if len(bad):
            row = jnp.asarray(start + bad[:1], jnp.int32)
            step = find_non_finite(params, _keys(key, row), row)
            came_up = '' if step is None else f' that came up in the step from t = {step[0]:.4g} to t = {step[1]:.4g}'
            raise Diverged(f'sample {start + bad[0]} holds NaN or infinity{came_up}: the model diverged')
        yield part


def at_once(drawing: Drawing, num: int) -> int:
    """How many rows `batches` evaluates at once, padding included, where `num` samples are wanted."""
    size = drawing.batch_size if drawing.whole else min(drawing.batch_size, num)
    return -(-size // drawing.mesh.size) * drawing.mesh.size


def of_rows(mesh: Mesh, key: Key, start: int, size: int) -> tuple[Key, jax.Array]:
    """The keys and the indices of samples start .. start + size - 1, `[size]` each, spread over the mesh."""
    index = spread(mesh, np.arange(start, start + size, dtype=np.int32))
    return _keys(key, index), index


def generate(drawing: Drawing, key: Key, num: int, progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """All of `batches` as one array `[num, ...]`; `progress` is called after each with the number of samples done."""
    parts = []
    for part in batches(drawing, key, num):
        parts.append(part)
        progress(sum(map(len, parts)))
    return np.concatenate(parts)


@jax.jit
def _keys(key, index):
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)
