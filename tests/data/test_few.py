"""A few rows of each class: which they are, what is told of them, which splits are whole, and what is refused."""

import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.data import conditions, kinds, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.few import few
from diffusion_jax.errors import UserError

DIGITS = {'name': 'digits', 'split': 'train', 'condition': 'label'}


def of_labels(labels):
    """Rows whose one value is their place."""
    x = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    classes = conditions.of_classes(max(labels) + 1)
    return sources.Source(x, np.array(labels, np.int32), kinds.images((1, 1, 1)), classes, 'rows')


@pytest.mark.parametrize('n', [10, 57, 1000])
def test_they_are_balanced_different_rows_with_their_own_labels(n):
    whole = sources.digits(condition='label')
    found = builders.build_source({**DIGITS, 'few': n, 'few_seed': 3})
    assert len(found.x) == len(found.cond) == n
    of_each = np.bincount(found.cond, minlength=10)
    assert of_each.max() - of_each.min() <= 1
    labels = {x.tobytes(): label for x, label in zip(whole.x, whole.cond, strict=True)}
    assert len({x.tobytes() for x in found.x}) == n
    assert [labels[x.tobytes()] for x in found.x] == [*found.cond]
    assert found.name == f'digits/train, {n} by seed 3'


def test_classes_that_run_out_leave_the_rest_to_others():
    found = few(of_labels([0, 1, 2, 2, 2, 1, 2, 2]), 6)
    assert np.bincount(found.cond).tolist() == [1, 2, 3]
    assert (np.diff(found.x.ravel()) > 0).all()  # in their order


def test_the_fewer_are_among_the_more_of_one_seed_and_other_seeds_have_others():
    of = {(n, seed): set(few(of_labels([0, 1] * 50), n, seed).x.ravel()) for n in (10, 30, 99) for seed in (0, 1)}
    assert of[10, 0] < of[30, 0] < of[99, 0]
    assert of[30, 0] != of[30, 1]


def test_every_row_of_a_class_is_as_likely():
    """30 of 90 rows, a third of each class: every row comes in a third of the seeds; a sum of squares as chi-square."""
    seeds = 300
    counts = np.zeros(90)
    for seed in range(seeds):
        counts[few(of_labels([0, 1, 2] * 30), 30, seed).x.ravel()] += 1
    z = (counts - seeds / 3) / np.sqrt(seeds * 2 / 9)
    assert 50 < (z**2).sum() * 29 / 30 < 130  # 87 degrees of freedom: mean 87, standard deviation 13
    assert abs(z).max() < 4.5


@pytest.mark.parametrize('told', [None, 'label'])
def test_other_splits_are_whole_and_what_is_not_told_stays_untold(told):
    spec = {**DIGITS, 'condition': told, 'few': 20}
    for split, n in ((None, 20), ('train', 20), ('test', 297)):
        found = builders.build_source(spec, split)
        assert len(found.x) == n
        assert (found.cond is None) == (found.condition is None) == (told is None)
    assert len(builders.build_source({**spec, 'split': 'test'}, 'train').x) == 1500
    assert len(builders.build_source({**spec, 'split': 'test'}).x) == 20
    assert len(builders.build_source({**spec, 'few': None}).x) == 1500


def test_of_a_set_without_a_class():
    found = builders.build_source({**DIGITS, 'few': 90, 'without': 3})
    assert np.bincount(found.cond, minlength=10).tolist() == [10, 10, 10, 0, 10, 10, 10, 10, 10, 10]


def test_a_few_of_a_set_on_disk_are_all_that_is_read(monkeypatch):
    class OnDisk:
        read = 0

        def __len__(self):
            return 40

        def __getitem__(self, index):
            OnDisk.read += len(index)
            return np.zeros((len(index), 1, 1, 1), np.uint8)

    source = of_labels([0, 1] * 20)._replace(x=OnDisk())
    found = few(source, 6)
    assert OnDisk.read == 6
    assert isinstance(found.x, np.ndarray)

    limits = []

    def set_on_disk(name: str, split: str = 'train', condition: str | None = None, memory_limit: int = 99):
        limits.append(memory_limit)
        return source

    monkeypatch.setattr(sources, 'tfds', set_on_disk)
    for few_of in (6, None):
        builders.build_source({'name': 'anything', 'condition': 'label', 'few': few_of})
    assert limits == [0, 99]  # its rows are decoded where they are indexed, unless all of them are wanted


def test_what_is_not_there_is_refused():
    for n in (9, 1501, 0, -1):
        with pytest.raises(DataError, match=f'digits/train has 10 classes and 1500 rows: few={n} is not between'):
            builders.build_source({**DIGITS, 'few': n})
    with pytest.raises(DataError, match='few=5 are as many rows of each class, and no one class is told'):
        few(sources.digits(), 5)
    with pytest.raises(DataError, match=r'few_seed=-1 is not in \[0, 4294967296\)'):
        builders.build_source({**DIGITS, 'few': 20, 'few_seed': -1})
    with pytest.raises(UserError, match=r'config\.data\.few=.* must be of type'):
        builders.build_source({**DIGITS, 'few': '20'})
    with pytest.raises(UserError, match=r'fwe is not an argument of digits'):
        builders.build_source({**DIGITS, 'fwe': 20})
