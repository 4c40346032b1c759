"""A class left out: which rows stay, what is told of them, and what is refused."""

import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.data import conditions, kinds, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.without import without
from diffusion_jax.errors import UserError


class OnDisk:
    """Rows that are read where they are indexed, and are no array."""

    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        return self._rows[index]


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize('told', [None, 'label'])
def test_a_class_is_left_out_of_the_data(split, told):
    whole = sources.digits(split, condition='label')
    keep = whole.cond != 3
    found = builders.build_source({'name': 'digits', 'condition': told, 'without': 3}, split)
    np.testing.assert_array_equal(found.x, whole.x[keep])
    assert found.name == f'digits/{split} without 3'
    if told is None:
        assert found.cond is None
        assert found.condition is None
    else:
        np.testing.assert_array_equal(found.cond, whole.cond[keep])
        assert found.condition.parts.num == 10


def test_none_leaves_all_in():
    assert len(builders.build_source({'name': 'digits', 'without': None}).x) == 1500


def test_rows_on_disk_are_read_where_they_are_indexed():
    label = np.array([0, 1, 2, 1, 0], np.int32)
    x = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    kind, classes = kinds.images((1, 1, 1)), conditions.of_classes(3)
    found = without(sources.Source(OnDisk(x), OnDisk(label), kind, classes, 'disk'), 1)
    assert len(found.x) == len(found.cond) == 3
    np.testing.assert_array_equal(found.x[np.array([2, 0, 1])].ravel(), [4, 0, 2])
    np.testing.assert_array_equal(found.cond[np.arange(3)], [0, 2, 0])


def test_what_has_no_such_class_is_refused():
    with pytest.raises(DataError, match='digits/train has the classes 0 to 9: without=10 is none of them'):
        without(sources.digits(condition='label'), 10)
    with pytest.raises(DataError, match='no one class is told of each row'):
        without(sources.digits(), 3)
    with pytest.raises(UserError, match=r'config\.data\.without=.* must be of type'):
        builders.build_source({'name': 'digits', 'without': '3'})
    with pytest.raises(UserError, match='without'):
        builders.build_source({'name': 'digits', 'withuot': 3})
