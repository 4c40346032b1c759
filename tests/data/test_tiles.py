"""The tiles that the package carries: what is in them, and what is refused."""

import numpy as np
import pytest

from diffusion_jax.data import tiles
from diffusion_jax.errors import UserError


def test_the_splits_share_no_tile_and_hold_none_twice():
    train, test = (tiles.tiles(split, condition='label') for split in ('train', 'test'))
    assert np.bincount(train.cond).tolist() == [600, 465]
    assert np.bincount(test.cond).tolist() == [67, 55]
    rows = np.concatenate([train.x, test.x]).reshape(1187, -1)
    assert len(np.unique(rows, axis=0)) == 1187


def test_each_tile_covers_fifteen_percent_of_a_black_square_and_more():
    x = tiles.tiles('train').x
    assert x.shape == (1065, 32, 32, 3)
    assert x.dtype == np.uint8
    # Black outlines are the tile's own, and read as ground here: most tiles still show what they cover.
    covered = x.any(-1).mean((1, 2))
    assert np.median(covered) > 0.25
    assert covered.min() > 0.05
    assert (x[:, 0, 0] == 0).all(-1).mean() > 0.9


def test_a_monster_is_told_from_an_item_far_above_chance():
    """Labels belong to their tiles: rows that had been mixed up would leave a classifier at chance."""
    from sklearn.neighbors import KNeighborsClassifier

    train, test = (tiles.tiles(split, condition='label') for split in ('train', 'test'))
    near = KNeighborsClassifier(5).fit(train.x.reshape(len(train.x), -1) / 255, train.cond)
    assert near.score(test.x.reshape(len(test.x), -1) / 255, test.cond) > 0.7


def test_what_it_does_not_have_is_refused():
    with pytest.raises(UserError, match="tiles has no split 'validation'; it has train, test"):
        tiles.tiles('validation')
    with pytest.raises(UserError, match="tiles/train can tell its 'label' or nothing; got condition='name'"):
        tiles.tiles('train', 'name')
