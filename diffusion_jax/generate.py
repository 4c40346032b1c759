"""Any number of samples, in batches of one size. A sample depends on (key, its index) alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from diffusion_jax.errors import UserError
from diffusion_jax.sharding import over_batch
from diffusion_jax.types import Array, Key, Params

Draw = Callable[[Params, Key, Array | None], Array]  # (params, keys [B], cond [B] or None) -> samples [B, ...]
Trace = Callable[[Params, Key, Array | None], tuple[float, float] | None]  # the same arguments -> times of a step


def generate(
    draw: Draw,
    params: Params,
    key: Key,
    num: int,
    batch_size: int,
    mesh: Mesh,
    num_classes: int = 0,
    progress: Callable[[int], None] = lambda done: None,
    label: int | None = None,
    trace: Trace = lambda params, keys, cond: None,
) -> np.ndarray:
    """`num` samples `[num, ...]` in float32; class i % num_classes for sample i of a conditional model, or `label`.

    Args:
        draw: from `build.build_draw`, jitted by the caller, so that a second call compiles nothing.
        params: of the model.
        key: sample i is drawn with fold_in(key, i).
        num: how many.
        batch_size: evaluated at once, rounded up to a multiple of the devices; padding of the last batch is dropped.
        mesh: devices to spread a batch over.
        num_classes: of a conditional model, else 0.
        progress: called after each batch with the number of samples done.
        label: the class of every sample; None lets the classes go round.
        trace: from `build.build_trace`, to say where a sample stopped being finite.

    Raises:
        UserError: if the model yields NaN, or has no such class.
    """
    if label is not None and not 0 <= label < num_classes:
        has = f'has the classes 0 to {num_classes - 1}' if num_classes else 'is unconditional'
        raise UserError(f'label={label}: the model {has}')
    devices = mesh.shape['data']
    batch_size = -(-min(batch_size, num) // devices) * devices
    sharding = over_batch(mesh)
    parts = []
    for start in range(0, num, batch_size):
        index = jax.device_put(jnp.arange(start, start + batch_size), sharding)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        classes = jnp.full_like(index, label) if label is not None else index % max(num_classes, 1)
        cond = classes if num_classes else None
        part = np.asarray(draw(params, keys, cond))[: num - start]
        bad = np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(1))
        if len(bad):
            row = slice(bad[0], bad[0] + 1)
            raise UserError(_diverged(start + bad[0], row, trace, params, keys, cond))
        parts.append(part)
        progress(min(start + batch_size, num))
    return np.concatenate(parts)


def _diverged(i, row, trace, params, keys, cond):
    step = trace(params, keys[row], None if cond is None else cond[row])
    came_up = '' if step is None else f' that came up in the step from t = {step[0]:.4g} to t = {step[1]:.4g}'
    return f'sample {i} holds NaN or infinity{came_up}: the model diverged'
