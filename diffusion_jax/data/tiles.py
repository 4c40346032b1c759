"""Pictures that the package carries: 1187 monsters and items of Dungeon Crawl Stone Soup, 32x32 in colour.

From the tiles that the game released in November 2015 under CC0 1.0. Of its 32x32 pictures of monsters and items these
are the ones that cover at least 15 % of their square, laid on black, without duplicates; nothing else was changed.
"""

import io
import lzma
from importlib import resources

import numpy as np

from diffusion_jax.data import conditions, kinds
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source, of_labels

CLASSES = ('monster', 'item')
_SPLITS = {'train': False, 'test': True}


def tiles(split: str = 'train', condition: str | None = None) -> Source:
    """The game's tiles: x is `[N, 32, 32, 3]` uint8, 2 classes.

    Args:
        split: 'train' (600 monsters, 465 items) or 'test' (67 and 55), disjoint and always the same.
        condition: 'label' for the class of each, named as in `CLASSES`; None for nothing.

    Raises:
        DataError: for any other split or condition.
    """
    if split not in _SPLITS:
        raise DataError(f"tiles has no split '{split}'; it has {', '.join(_SPLITS)}")
    packed = resources.files('diffusion_jax.data').joinpath('tiles.npz.xz').read_bytes()
    with np.load(io.BytesIO(lzma.decompress(packed))) as held:
        rows = held['test'] == _SPLITS[split]
        x, label = held['x'][rows], held['label'][rows].astype(np.int32)
    classes = conditions.of_classes(len(CLASSES), list(CLASSES))
    return of_labels(x, label, classes, kinds.images(x.shape[1:]), condition, f'tiles/{split}')
