"""Batches as a function of the step, and values in [-1, 1] on the device.

Element i of the endless shuffled stream depends on (seed, i) alone: epoch e = i // N is a permutation drawn from
(seed, e). The global batch of step k is elements [k B, (k + 1) B), and host h of H takes rows h B/H + [0, B/H) of it.
So the only state to save is the step, and a run resumes exactly on any number of hosts.
"""

import functools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from diffusion_jax.axes import repeat_row, where_rows
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source, rows_of
from diffusion_jax.types import Batch, Cond, Key, Kind


class RawBatch(NamedTuple):
    """A batch as it lies in its source: on the host it holds NumPy arrays, a quarter of the size of float32."""

    x: Shaped[Array | np.ndarray, 'b ...']  # levels as integers, or float32 for continuous data
    cond: Cond  # a pytree of rows [b, ...], or None


Prepare = Callable[[Key, RawBatch], Batch]


def batch_at(
    source: Source, seed: int, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Callable[[int], RawBatch]:
    """The pure function step -> this host's rows of the global batch, `batch_size / process_count` of them.

    Args:
        source: the data; batches may be larger than it, they then run over several epochs.
        seed: non-negative; with the step it determines the batch.
        batch_size: of the global batch.
        process_index: which host this is, below `process_count`.
        process_count: number of hosts.

    Raises:
        DataError: if the hosts cannot share a batch evenly.
    """
    if batch_size < 1 or batch_size % process_count:
        raise DataError(f'a batch of {batch_size} cannot be shared evenly by {process_count} processes')
    rows = batch_size // process_count
    size = len(source.x)

    # A whole permutation costs 8 bytes a row; drawing single elements of one costs microseconds each, every epoch.
    @functools.lru_cache(maxsize=2)
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(size)

    def at(step: int) -> RawBatch:
        first = step * batch_size + process_index * rows
        epoch, place = np.divmod(np.arange(first, first + rows), size)
        epochs = range(int(epoch[0]), int(epoch[-1]) + 1)
        index = np.concatenate([permutation(e)[place[epoch == e]] for e in epochs])
        return RawBatch(source.x[index], rows_of(source, index))

    return at


def batches(
    source: Source,
    seed: int,
    batch_size: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    depth: int = 2,
) -> Generator[RawBatch, None, None]:
    """`batch_at(...)` of start_step, start_step + 1, ... without end, `depth` batches ahead in a background thread.

    An exception in the thread is raised at the batch it belongs to. `close()` stops and joins the thread; use
    `contextlib.closing(batches(...))` to be sure of it.

    Raises:
        DataError: at the call, as `batch_at`.
    """
    at = batch_at(source, seed, batch_size, process_index, process_count)
    return _ahead(at, start_step, depth)


def _ahead(at: Callable[[int], RawBatch], step: int, depth: int) -> Generator[RawBatch, None, None]:
    with ThreadPoolExecutor(1, thread_name_prefix='batches') as pool:
        try:
            pending = deque(pool.submit(at, k) for k in range(step, step + depth))
            while True:
                batch = pending.popleft().result()
                pending.append(pool.submit(at, step + depth))
                step += 1
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def prepare(kind: Kind) -> Prepare:
    """A pure function `(key, raw) -> Batch` to run on the device: values in [-1, 1], augmented.

    Levels 0 .. L - 1 become 2 u / (L - 1) - 1 in float32; continuous data are left alone.
    """

    def scale(x: Array) -> Array:
        # Not 2 u / top - 1: XLA turns that into a fused multiply-add by 1 / top, which maps the top to 1.0000001.
        top = None if kind.levels is None else kind.levels - 1
        return x if top is None else (2 * x.astype(jnp.float32) - top) / top

    def apply(key: Key, raw: RawBatch) -> Batch:
        return Batch(kind.augment(key, scale(jnp.asarray(raw.x))), jax.tree.map(jnp.asarray, raw.cond))

    return apply


def drop_cond(prepare: Prepare, p: float, null: Any) -> Prepare:
    """Each row's whole condition replaced by `null` with probability p, independently (arXiv 2207.12598, algorithm 1).

    Args:
        prepare: of a data set with conditions.
        p: in [0, 1).
        null: one row that tells nothing.
    """

    def apply(key: Key, raw: RawBatch) -> Batch:
        key_prepare, key_drop = jax.random.split(key)
        batch = prepare(key_prepare, raw)
        n = len(batch.x)
        dropped = jax.random.bernoulli(key_drop, p, (n,))
        return batch._replace(cond=where_rows(dropped, repeat_row(null, n), batch.cond))

    return apply
