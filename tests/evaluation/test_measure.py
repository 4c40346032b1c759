"""All metrics of a stream: the same numbers whatever the batches, and the definitions on the same features."""

import functools
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.data import kinds
from diffusion_jax.data.quantise import rounded
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation import features, frechet, generalization, inception_score, kid, manifold, measure
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.evaluation.rows import Values

RNG = np.random.default_rng(0)
KIND = kinds.images((2, 3, 1))
X, HELD_OUT = (Source(RNG.integers(0, 256, (n, 2, 3, 1), np.uint8), None, KIND, None, f's/{n}') for n in (80, 30))
SAMPLES = RNG.uniform(-1, 1, (57, 2, 3, 1)).astype(np.float32)


def outputs(x):
    flat = jnp.asarray(x).reshape(len(x), -1)
    return Outputs(flat[:, :4], flat[:, 3:] ** 2, 4 * flat)


NET_2 = Features('net-2', lambda x: Outputs(jnp.asarray(x)), 'ab')
NET = Features('net-4', outputs, 'ab', 'a kernel')
REFERENCE = measure.make_reference(X, NET, HELD_OUT)


def survey(*sizes):
    return measure.survey(np.split(SAMPLES, np.cumsum(sizes)), len(SAMPLES), REFERENCE, (0,))


def test_batches_do_not_matter():
    whole, parts = survey(), survey(1, 30, 13)
    assert whole.protocol == parts.protocol
    assert list(whole.values) == list(parts.values)
    np.testing.assert_allclose(list(parts.values.values()), list(whole.values.values()), rtol=1e-5)


def test_every_value_is_its_definition_on_the_rounded_samples():
    got = survey(20, 20).values
    stored = np.round(127.5 * SAMPLES + 127.5) / np.float32(127.5) - 1
    x, held_out = (Values(s)[:] for s in (X, HELD_OUT))
    mine, theirs = (outputs(v) for v in (stored, x))
    rows, reference = np.asarray(mine.rows), np.asarray(theirs.rows)

    def fitted(values):
        return frechet.finish(frechet.running(np.asarray(values)), '')

    def distance(a, b):
        a, b = fitted(a), fitted(b)
        return frechet.frechet_distance(a.mean, a.cov, b.mean, b.cov)

    kernel = kid.kernel_distance(rows, reference, 20, 57)
    score = inception_score.inception_score(np.asarray(mine.logits), 10)
    shares = manifold.manifold(rows, reference, 3, 5)
    equal = outputs(x[:30]).rows, outputs(held_out).rows
    near, far = (generalization.nearest_neighbours(v, x).distance for v in (stored, held_out))
    want = {
        'Frechet distance (net-4)': distance(rows, reference),
        'kernel distance (net-4)': kernel.mean,
        'kernel distance (net-4), standard error': kernel.standard_error,
        'kernel distance (net-4), standard error with a fresh reference': kernel.with_reference,
        'median training distance, samples': np.median(near),
        'median training distance, held-out': np.median(far),
        'memorisation ratio': np.median(near) / np.median(far),
        'rate of copies': generalization.copy_rate(near, far).rate,
        'rate of copies, standard error': generalization.copy_rate(near, far).standard_error,
        'Frechet distance (net-4), standard error': frechet.jackknife(rows, fitted(reference)),
        'spatial Frechet distance (net-4)': distance(mine.spatial, theirs.spatial),
        'class score (net-4)': score.mean,
        'class score (net-4), std over 10 splits': score.std,
        'class score (net-4), standard error': score.standard_error,
        'precision (k=3)': shares.precision,
        'recall (k=3)': shares.recall,
        'density (k=5)': shares.density,
        'coverage (k=5)': shares.coverage,
        'Frechet gap, held-out less train': distance(rows, equal[1]) - distance(rows, equal[0]),
    }
    assert list(got) == list(want)
    np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=1e-4)


def test_measure_is_the_beginning_of_survey():
    few, many = measure.measure(SAMPLES, REFERENCE, (0,)), survey()
    assert few.protocol == many.protocol
    shared = {k: many.values[k] for k in few.values}
    assert list(shared) == list(many.values)[: len(shared)]
    np.testing.assert_allclose(list(few.values.values()), list(shared.values()), rtol=1e-5)


def test_memory_does_not_grow_with_the_samples(monkeypatch):
    """Of all features only the first rows are kept; the standard error is scaled to all samples."""
    whole, searched = survey(), []
    search = measure.nearest_neighbours
    monkeypatch.setattr(measure, '_ROWS', 25)
    monkeypatch.setattr(measure, 'nearest_neighbours', lambda x, train: searched.append(x) or search(x, train))
    reference = measure.make_reference(X, NET, HELD_OUT)
    capped = measure.survey(np.split(SAMPLES, [20, 40]), 57, reference, (0,))
    summary = measure.summarise(NET, np.split(SAMPLES, [20, 40]), 57)
    assert len(summary.rows) == 25 == len(reference.summary.rows)
    np.testing.assert_array_equal(summary.rows, SAMPLES.reshape(57, 6)[:25, :4])
    name = 'Frechet distance (net-4)'
    np.testing.assert_allclose(capped.values[name], whole.values[name], rtol=1e-5)
    ratio = capped.values[f'{name}, standard error'] / whole.values[f'{name}, standard error']
    assert 0.5 < ratio < 2
    assert (capped.protocol.rows, capped.protocol.kernel_subsets) == (25, '20 of 25')
    np.testing.assert_array_equal(searched[-1], rounded(SAMPLES[:25], 256))


def test_what_is_not_kept_is_let_go(monkeypatch):
    """A view of no rows would hold the batch that it is of."""
    wide = Features('wide-2', lambda x: Outputs(np.array(x)[:, :2]), '')
    data = Source(RNG.integers(0, 256, (40, 10_000), np.uint8), None, kinds.images((10_000,)), None, 's')
    reference = measure.make_reference(data, wide, data)
    monkeypatch.setattr(measure, '_ROWS', 20)
    tracemalloc.start()
    measure.survey((np.zeros((10, 10_000), np.float32) + i / 100 for i in range(100)), 1000, reference, (0,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 10 * 10_000 * 4  # of a hundred batches


def test_a_data_set_is_read_a_few_rows_at_a_time(monkeypatch):
    """Of sets that lie on disk; the results are those of the set in memory."""

    class OnDisk:
        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            assert len(index) <= 16
            return self.rows[index]

    on_disk, held_out = (s._replace(x=OnDisk(s.x)) for s in (X, HELD_OUT))
    monkeypatch.setattr(measure, '_CHUNK', 16)
    monkeypatch.setattr(measure, '_HELD_OUT_ROWS', 16)
    monkeypatch.setattr(features, '_BLOCK', 16)
    monkeypatch.setattr(measure, 'nearest_neighbours', functools.partial(generalization.nearest_neighbours, chunk=16))
    got = []
    for data, other in ((X, HELD_OUT), (on_disk, held_out)):
        made = features.pca(Values(data), 4)
        reference = measure.make_reference(data, made, other)
        got.append([made.hash, *measure.measure(SAMPLES[:16], reference, (0,)).values.values()])
    assert got[0] == got[1]


def test_values_are_on_the_datas_own_levels():
    """Of 17 levels: 0 is -1, 16 is 1, 5 is -3/8."""
    rows = np.array([[0, 5], [16, 8]], np.uint8)
    values = Values(Source(rows, None, kinds.images((2,), 17), None, 's'))
    assert (len(values), values.shape) == (2, (2, 2))
    np.testing.assert_array_equal(values[:], [[-1, -0.375], [1, 0]])
    np.testing.assert_array_equal(values[np.array([1, 1])], values[:][[1, 1]])
    continuous = Values(Source(rows.astype(np.float32), None, kinds.points(2), None, 's'))
    np.testing.assert_array_equal(continuous[1:], rows[1:])


@pytest.mark.parametrize('levels', [2, 17, 256, 2**16])
def test_samples_are_measured_on_the_datas_own_levels(levels):
    """What lies within half a level of the data is the data: every distance is 0."""
    rows = RNG.integers(0, levels, (40, 2)).astype(np.min_scalar_type(levels - 1))
    source = Source(rows, None, kinds.images((2,), levels), None, 's')
    reference = measure.make_reference(source, NET_2, source)
    off = RNG.uniform(-0.45, 0.45, rows.shape) * 2 / (levels - 1)
    near = np.clip(2.0 * rows / (levels - 1) - 1 + off, -1, 1).astype(np.float32)
    got = measure.survey([near], 40, reference, (0,))
    assert got.values['median training distance, samples'] == 0
    assert got.values['Frechet distance (net-2)'] < 1e-12
    assert got.protocol.rounding == f'{levels} levels'


def test_the_protocol_says_all():
    p = survey().protocol
    assert (p.features, p.features_hash, p.resize, p.rounding) == ('net-4', 'ab', 'a kernel', '256 levels')
    assert (p.n, p.reference, p.reference_size, p.seeds, p.levels) == (57, 's/80', 80, (0,), 256)
    assert (p.rows, p.kernel_subsets) == (10_000, '20 of 57')


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match='at least 2 samples, got 0'):
        measure.survey([], 0, REFERENCE, ())
