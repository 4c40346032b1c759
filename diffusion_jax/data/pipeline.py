"""Batches as a function of the step, and values in [-1, 1] on the device.

Element i of the endless shuffled stream depends on (seed, i) alone: epoch e = i // N is a permutation drawn from
(seed, e). The global batch of step k is elements [k B, (k + 1) B), and host h of H takes rows h B/H + [0, B/H) of it.
So the only state to save is the step, and a run resumes exactly on any number of hosts.
"""

import functools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped, UInt8

from diffusion_jax.data.sources import DataError, Source
from diffusion_jax.types import Batch, Key


class RawBatch(NamedTuple):
    """A batch as it lies in its source: on the host it holds NumPy arrays, a quarter of the size of float32."""

    x: Shaped[Array | np.ndarray, 'b ...']  # uint8, or float32 for continuous data
    label: Int[Array | np.ndarray, ' b'] | None


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
        return RawBatch(source.x[index], None if source.label is None else source.label[index])

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


def prepare(levels: int | None, flip: bool = False) -> Prepare:
    """A pure function `(key, raw) -> Batch` to run on the device: scaling to [-1, 1], then flips; labels become cond.

    Args:
        levels: as in `Source`: values 0 .. levels-1 become 2 u / (levels - 1) - 1 in float32; None leaves them alone.
        flip: mirror each image left to right with probability one half.

    Raises:
        DataError: when called, for flips of anything but `[b, h, w, c]`.
    """

    def scale(x: Array) -> Array:
        # Not 2 u / top - 1: XLA turns that into a fused multiply-add by 1 / top, which maps the top to 1.0000001.
        return x if levels is None else (2 * x.astype(jnp.float32) - (levels - 1)) / (levels - 1)

    def apply(key: Key, raw: RawBatch) -> Batch:
        x = scale(jnp.asarray(raw.x))
        if flip and x.ndim != 4:
            raise DataError(f'flip needs images [b, h, w, c], this data has shape {x.shape}')
        cond = None if raw.label is None else jnp.asarray(raw.label)
        return Batch(random_flip(key, x) if flip else x, cond)

    return apply


def drop_label(prepare: Prepare, p: float, null: int) -> Prepare:
    """Each label replaced by the null class with probability p, independently (arXiv 2207.12598, algorithm 1)."""

    def apply(key: Key, raw: RawBatch) -> Batch:
        key_prepare, key_drop = jax.random.split(key)
        batch = prepare(key_prepare, raw)
        if batch.cond is None:
            raise DataError('there are no labels to drop: the data set has none')
        return batch._replace(cond=jnp.where(jax.random.bernoulli(key_drop, p, batch.cond.shape), null, batch.cond))

    return apply


def random_flip(key: Key, x: Shaped[Array, 'b h w c']) -> Shaped[Array, 'b h w c']:
    """Each image mirrored left to right with probability one half, independently."""
    mirrored = jax.random.bernoulli(key, shape=(x.shape[0], 1, 1, 1))
    return jnp.where(mirrored, x[:, :, ::-1], x)


def to_uint8(x: Float[Array | np.ndarray, '*shape']) -> UInt8[Array, '*shape']:
    """[-1, 1] to the 0..255 of pictures: clip(round(127.5 x + 127.5)), whatever the data's own levels were."""
    # bfloat16 has 8 bits of mantissa: it could not tell 254 from 255.
    return jnp.clip(jnp.round(127.5 * jnp.asarray(x, jnp.float32) + 127.5), 0, 255).astype(jnp.uint8)
