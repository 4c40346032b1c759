"""The order of the data is a function of (seed, step); scaling, flips and rounding are exact."""

import contextlib
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.data import augment, conditions, kinds, pipeline
from diffusion_jax.data.quantise import to_uint8
from diffusion_jax.data.sources import DataError, Source
from diffusion_jax.types import Masked

SIZE = 24


def numbered(size=SIZE, label=True):
    """Row i holds the value i, so that a batch shows which rows it took."""
    x = np.arange(size, dtype=np.uint8).reshape(size, 1, 1, 1)
    kind = kinds.images((1, 1, 1))
    if not label:
        return Source(x, None, kind, None, 'numbered')
    return Source(x, np.arange(size, dtype=np.int32), kind, conditions.of_classes(size), 'numbered')


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
        np.testing.assert_array_equal(np.concatenate([share[step].cond for share in shares]), batch.cond)


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
    assert rows(first) == first.cond.tolist()
    assert stream(numbered(label=False), 1, seed=0, batch_size=4)[0].cond is None


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
    source = Source(Slow(), None, kinds.points(1), None, 'slow')
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
    batches = pipeline.batches(Source(Slow(fail_at=3), None, kinds.points(1), None, 'slow'), 0, 2)
    next(batches)
    next(batches)
    with pytest.raises(OSError, match='the disk is gone'):
        next(batches)
    assert not threads()


def test_every_uint8_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8).reshape(256, 1)
    batch = jax.jit(pipeline.prepare(kinds.images((1,))))(jax.random.key(0), pipeline.RawBatch(values, None))
    assert batch.x.dtype == jnp.float32
    assert batch.x[0, 0] == -1
    assert batch.x[-1, 0] == 1
    assert batch.cond is None
    np.testing.assert_array_equal(to_uint8(batch.x), values)


def test_other_levels_fill_the_same_range():
    raw = pipeline.RawBatch(np.array([[0], [8], [16]], np.uint8), np.array([2, 1, 0], np.int32))
    batch = pipeline.prepare(kinds.images((1,), 17))(jax.random.key(0), raw)
    np.testing.assert_array_equal(batch.x, [[-1], [0], [1]])
    np.testing.assert_array_equal(batch.cond, [2, 1, 0])
    np.testing.assert_array_equal(to_uint8(batch.x), [[0], [128], [255]])


def test_continuous_data_passes():
    x = np.array([[3.5, -7.25]], np.float32)
    np.testing.assert_array_equal(pipeline.prepare(kinds.points(2))(jax.random.key(0), pipeline.RawBatch(x, None)).x, x)


def test_to_uint8_clips_rounds_and_ignores_the_input_precision():
    x = jnp.array([-3.0, -1.0, -0.004, 0.0, 1.0, 1.01, 7.0])
    np.testing.assert_array_equal(to_uint8(x), [0, 0, 127, 128, 255, 255, 255])
    half = jnp.linspace(-1, 1, 256).astype(jnp.bfloat16)
    np.testing.assert_array_equal(to_uint8(half), to_uint8(half.astype(jnp.float32)))


def test_flip_mirrors_columns_of_about_half_of_the_images():
    x = np.random.default_rng(0).integers(0, 256, (400, 3, 4, 2), np.uint8)
    flipped = np.asarray(augment.flip()(jax.random.key(0), jnp.asarray(x)))
    kept = (flipped == x).all((1, 2, 3))
    np.testing.assert_array_equal(flipped[~kept], x[~kept][:, :, ::-1])
    assert 160 < kept.sum() < 240
    kind = kinds.images((3, 4, 2))._replace(augment=augment.flip())
    batch = pipeline.prepare(kind)(jax.random.key(0), pipeline.RawBatch(x, None))
    np.testing.assert_array_equal(to_uint8(batch.x), flipped)


def test_all_frames_of_a_video_are_mirrored_or_none():
    x = np.random.default_rng(0).normal(size=(60, 5, 2, 3, 1)).astype(np.float32)
    flipped = np.asarray(augment.flip()(jax.random.key(0), jnp.asarray(x)))
    kept = (flipped == x).all((2, 3, 4))
    assert {tuple(row) for row in kept} == {(True,) * 5, (False,) * 5}
    np.testing.assert_array_equal(flipped[~kept[:, 0]], x[~kept[:, 0]][:, :, :, ::-1])


def test_flip_of_points_is_refused():
    with pytest.raises(ValueError, match=r'flip needs images \[b, h, w, c\], this data has shape \(4, 2\)'):
        augment.flip()(jax.random.key(0), jnp.zeros((4, 2)))


@pytest.mark.parametrize('shape', [(2, 3, 1), (2, 2, 3, 1)])
def test_shift_moves_images_by_every_offset_as_often_and_brings_in_black(shape):
    """Of images `[2, 3, 1]`, and of videos whose frames move together; a plain loop over the 9 offsets."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    moved = np.asarray(augment.shift(1)(jax.random.key(0), jnp.tile(x, (900, *[1] * len(shape)))))
    counts = []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            want = -np.ones_like(x)
            for i in range(2):
                for j in range(3):
                    if 0 <= i + dy < 2 and 0 <= j + dx < 3:
                        want[..., i + dy, j + dx, :] = x[..., i, j, :]
            counts.append((moved == want).reshape(900, -1).all(1).sum())
    assert sum(counts) == 900
    assert min(counts) > 60
    with pytest.raises(ValueError, match=r'shift needs images \[b, h, w, c\], this data has shape \(4, 2\)'):
        augment.shift()(jax.random.key(0), jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match=r'pixels must be a whole number in \[0, inf\); got -1'):
        augment.shift(-1)


def test_roll_moves_every_sample_around_its_end():
    x = jnp.tile(jnp.arange(5.0)[None, :, None], (200, 1, 1))
    rolled = np.asarray(augment.roll()(jax.random.key(0), x))[..., 0]
    np.testing.assert_array_equal((np.diff(rolled, axis=1) % 5), 1)
    assert np.bincount(rolled[:, 0].astype(int)).min() > 20


PARTS = {
    'a class': conditions.of_classes(7),
    'two classes': conditions.of_several({'a': conditions.of_classes(3), 'b': conditions.of_classes(5)}),
    'vectors in a row': conditions.of(conditions.features(6, 4)),
    'a text and an image': conditions.of({'text': conditions.tokens(5, 9), 'image': conditions.image((2, 2, 1))}),
}


def told(condition, n, seed=0):
    """Random rows, none of which is null."""
    rng = np.random.default_rng(seed)

    def rows(part):
        shape = (n, *part.shape)
        values = rng.normal(size=shape).astype(np.float32) if part.num is None else rng.integers(0, part.num, shape)
        if part.num is not None and not part.sequence:
            return values.astype(np.int32)
        mask = np.ones((n, *(part.shape[:1] if part.sequence else ())), bool)
        return Masked(values if part.num is None else values.astype(np.int32), mask)

    return jax.tree.map(rows, condition.parts)


@pytest.mark.parametrize('name', PARTS)
def test_whole_conditions_are_dropped_with_the_probability_asked_for(name):
    """Rows at a time, independently of each other; what is not dropped keeps its condition and its image."""
    images, condition = np.arange(400 * 4, dtype=np.uint8).reshape(400, 2, 2, 1), PARTS[name]
    raw = pipeline.RawBatch(images, told(condition, 400))
    apply = jax.jit(pipeline.drop_cond(pipeline.prepare(kinds.images((2, 2, 1))), 0.3, condition.null))
    batches = [apply(jax.random.key(seed), raw) for seed in range(20)]

    def share(cond, other):
        """Of the leaves of each row that are another's in every value, [leaves, n]."""
        pairs = zip(jax.tree.leaves(cond), jax.tree.leaves(other), strict=True)
        return np.stack([(np.asarray(a) == b).reshape(len(a), -1).all(1) for a, b in pairs])

    dropped = []
    for batch in batches:
        null, kept = share(batch.cond, jax.tree.map(lambda a: a[None], condition.null)), share(batch.cond, raw.cond)
        assert (null.all(0) ^ kept.all(0)).all()
        dropped.append(null.all(0))
        np.testing.assert_array_equal(to_uint8(batch.x), images)
    assert abs(np.mean(dropped) - 0.3) < 4 * np.sqrt(0.21 / np.size(dropped))
    # Over batches every row is dropped about as often as any other: the shares spread as a binomial's do.
    assert abs(np.mean(dropped, 0).std() / np.sqrt(0.21 / 20) - 1) < 0.15
