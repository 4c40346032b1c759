"""The order of the data is a function of (seed, step); scaling, flips and rounding are exact."""

import contextlib
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.data import pipeline
from diffusion_jax.data.sources import DataError, Source

SIZE = 24


def numbered(size=SIZE, label=True):
    """Row i holds the value i, so that a batch shows which rows it took."""
    x = np.arange(size, dtype=np.uint8).reshape(size, 1, 1, 1)
    return Source(x, np.arange(size, dtype=np.int32) if label else None, 256, size if label else None, 'numbered')


def rows(batch):
    return batch.x.reshape(-1).tolist()


def stream(source, n, **options):
    with contextlib.closing(pipeline.batches(source, **options)) as batches:
        return [next(batches) for _ in range(n)]


@pytest.mark.parametrize('hosts', [2, 4])
def test_hosts_share_the_batch_of_one_host(hosts):
    one = stream(numbered(), 7, seed=3, batch_size=8)
    shares = [stream(numbered(), 7, seed=3, batch_size=8, process_index=h, process_count=hosts) for h in range(hosts)]
    for step, batch in enumerate(one):
        np.testing.assert_array_equal(np.concatenate([share[step].x for share in shares]), batch.x)
        np.testing.assert_array_equal(np.concatenate([share[step].label for share in shares]), batch.label)


def test_resumed_equals_uninterrupted():
    whole = stream(numbered(), 12, seed=1, batch_size=7)
    resumed = stream(numbered(), 5, seed=1, batch_size=7, start_step=7)
    for a, b in zip(whole[7:], resumed, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
    at = pipeline.batch_at(numbered(), 1, 7)
    np.testing.assert_array_equal(at(11).x, whole[11].x)  # in any order
    np.testing.assert_array_equal(at(0).x, whole[0].x)


@pytest.mark.parametrize('batch_size', [8, 7, 24, 60])  # dividing an epoch, straddling it, as large, larger than two
def test_every_epoch_is_another_permutation(batch_size):
    batches = stream(numbered(), 4 * SIZE // batch_size + 1, seed=0, batch_size=batch_size)
    order = np.concatenate([rows(batch) for batch in batches]).tolist()
    epochs = [order[SIZE * e : SIZE * (e + 1)] for e in range(4)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, range(SIZE)]}) == 5


def test_seeds_differ_and_labels_follow():
    first, second = (stream(numbered(), 1, seed=seed, batch_size=SIZE)[0] for seed in (0, 1))
    assert rows(first) != rows(second)
    assert rows(first) == first.label.tolist()
    assert stream(numbered(label=False), 1, seed=0, batch_size=4)[0].label is None


def test_uneven_share_is_refused_at_the_call():
    with pytest.raises(DataError, match='a batch of 6 cannot be shared evenly by 4 processes'):
        pipeline.batches(numbered(), 0, 6, process_count=4)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith('batches')]


class Slow:
    """Rows that fail from the given read on, and count their reads."""

    def __init__(self, fail_at=None):
        self.reads, self.fail_at = 0, fail_at

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        self.reads += 1
        if self.reads == self.fail_at:
            raise OSError('the disk is gone')
        return np.zeros((len(index), 1), np.float32)


def test_close_stops_the_thread_and_reading_stays_ahead():
    source = Source(Slow(), None, None, None, 'slow')
    batches = pipeline.batches(source, 0, 2, depth=3)
    next(batches)
    deadline = time.monotonic() + 5
    while source.x.reads < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.x.reads == 4  # the one handed out and three ahead, not more
    assert len(threads()) == 1
    batches.close()
    assert not threads()
    with pytest.raises(StopIteration):
        next(batches)


def test_error_in_the_thread_reaches_its_batch():
    batches = pipeline.batches(Source(Slow(fail_at=3), None, None, None, 'slow'), 0, 2)
    next(batches)
    next(batches)
    with pytest.raises(OSError, match='the disk is gone'):
        next(batches)
    assert not threads()


def test_every_uint8_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8).reshape(256, 1)
    batch = jax.jit(pipeline.prepare(256))(jax.random.key(0), pipeline.RawBatch(values, None))
    assert batch.x.dtype == jnp.float32
    assert batch.x[0, 0] == -1
    assert batch.x[-1, 0] == 1
    assert batch.cond is None
    np.testing.assert_array_equal(pipeline.to_uint8(batch.x), values)


def test_other_levels_fill_the_same_range():
    raw = pipeline.RawBatch(np.array([[0], [8], [16]], np.uint8), np.array([2, 1, 0], np.int32))
    batch = pipeline.prepare(17)(jax.random.key(0), raw)
    np.testing.assert_array_equal(batch.x, [[-1], [0], [1]])
    np.testing.assert_array_equal(batch.cond, [2, 1, 0])
    np.testing.assert_array_equal(pipeline.to_uint8(batch.x), [[0], [128], [255]])


def test_continuous_data_passes():
    x = np.array([[3.5, -7.25]], np.float32)
    np.testing.assert_array_equal(pipeline.prepare(None)(jax.random.key(0), pipeline.RawBatch(x, None)).x, x)


def test_to_uint8_clips_rounds_and_ignores_the_input_precision():
    x = jnp.array([-3.0, -1.0, -0.004, 0.0, 1.0, 1.01, 7.0])
    np.testing.assert_array_equal(pipeline.to_uint8(x), [0, 0, 127, 128, 255, 255, 255])
    half = jnp.linspace(-1, 1, 256).astype(jnp.bfloat16)
    np.testing.assert_array_equal(pipeline.to_uint8(half), pipeline.to_uint8(half.astype(jnp.float32)))


def test_flip_mirrors_columns_of_about_half_of_the_images():
    x = np.random.default_rng(0).integers(0, 256, (400, 3, 4, 2), np.uint8)
    flipped = np.asarray(pipeline.random_flip(jax.random.key(0), jnp.asarray(x)))
    kept = (flipped == x).all((1, 2, 3))
    np.testing.assert_array_equal(flipped[~kept], x[~kept][:, :, ::-1])
    assert 160 < kept.sum() < 240
    batch = pipeline.prepare(256, flip=True)(jax.random.key(0), pipeline.RawBatch(x, None))
    np.testing.assert_array_equal(pipeline.to_uint8(batch.x), flipped)


def test_flip_of_points_is_refused():
    raw = pipeline.RawBatch(np.zeros((4, 2), np.float32), None)
    with pytest.raises(DataError, match=r'flip needs images \[b, h, w, c\], this data has shape \(4, 2\)'):
        pipeline.prepare(None, flip=True)(jax.random.key(0), raw)


def test_labels_are_dropped_with_the_probability_asked_for():
    """Independently of each other and of flips; what is not dropped keeps its label and its image."""
    images = np.arange(400 * 4, dtype=np.uint8).reshape(400, 2, 2, 1)
    raw = pipeline.RawBatch(images, np.arange(400, dtype=np.int32) % 7)
    apply = jax.jit(pipeline.drop_label(pipeline.prepare(256), 0.3, 7))
    batches = [apply(jax.random.key(seed), raw) for seed in range(20)]
    dropped = np.array([batch.cond == 7 for batch in batches])
    assert abs(dropped.mean() - 0.3) < 4 * np.sqrt(0.21 / dropped.size)
    # Over batches every row is dropped about as often as any other: the shares spread as a binomial's do.
    assert abs(dropped.mean(0).std() / np.sqrt(0.21 / 20) - 1) < 0.15
    for batch, gone in zip(batches, dropped, strict=True):
        np.testing.assert_array_equal(np.asarray(batch.cond)[~gone], raw.label[~gone])
        np.testing.assert_array_equal(pipeline.to_uint8(batch.x), images)


def test_labels_that_are_not_there_cannot_be_dropped():
    raw = pipeline.RawBatch(np.zeros((2, 2), np.float32), None)
    with pytest.raises(DataError, match='there are no labels to drop'):
        pipeline.drop_label(pipeline.prepare(None), 0.3, 7)(jax.random.key(0), raw)
