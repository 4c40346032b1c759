"""Sequences of symbols: a Markov chain, and the characters of a text. x is `[N, L, 1]`, uint8."""

import jax
import numpy as np

from diffusion_jax.data import conditions, kinds, markov, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source
from diffusion_jax.ranges import whole

CHARACTERS = '\n' + ''.join(map(chr, range(32, 127)))  # the vocabulary of `characters`: line feed, printable ASCII
_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'  # of a chain of so many symbols at most
_SPLITS = ('train', 'test')


def chain(
    chain: markov.MarkovChain, n: int, length: int, seed: int, split: str = 'train', condition: str | None = None
) -> Source:
    """`n` sequences drawn once from a Markov chain of at most 26 symbols, shown as letters.

    Args:
        chain: the law.
        n: in [1, 2^31).
        length: in [1, inf).
        seed: in [0, 2^32).
        split: 'train' or 'test', which share nothing but the law.
        condition: 'label' for the first symbol of each, None for nothing.

    Raises:
        DataError: another split or condition.
        ValueError: another argument outside of its range, or too many symbols.
    """
    k = len(chain.initial)
    whole('[1, 2147483648)', n=n)
    whole('[1, inf)', length=length)
    whole('[0, 4294967296)', seed=seed)
    whole('[1, 26]', symbols=k)
    name = f'chain/n={n},length={length},seed={seed}/{split}'
    if split not in _SPLITS:
        raise DataError(f"chain has no split '{split}'; it has {', '.join(_SPLITS)}")
    key = jax.random.fold_in(jax.random.key(seed), _SPLITS.index(split))
    x = np.asarray(markov.sample(chain, key, n, length), np.uint8)
    kind, classes = kinds.tokens(length, k, _LETTERS[:k]), conditions.of_classes(k, list(_LETTERS[:k]))
    return sources.of_labels(x, x[:, 0, 0].astype(np.int32), classes, kind, condition, name)


def characters(
    text: str, dir: str | None = None, split: str = 'train', length: int = 128, stride: int | None = None
) -> Source:
    """Windows of a text's characters, each a number below 96: its place in `CHARACTERS`.

    Args:
        text: a text set prepared by tensorflow-datasets, such as 'tiny_shakespeare'; its feature 'text' is read, and
            several texts follow one another.
        dir: as for `sources.tfds`.
        split: as there.
        length: of a window, in [1, inf).
        stride: from one window to the next, in [1, inf); by default `length`, so that no character is in two of them.

    Raises:
        DataError: as `sources.tfds`; for a text shorter than a window, or a character that the vocabulary has not.
        ValueError: a length or stride outside of its range.
    """
    stride = length if stride is None else stride
    whole('[1, inf)', length=length, stride=stride)
    name, texts = sources.texts(text, 'text', dir, split)
    return Source(
        windows('\n'.join(texts), length, stride, name),
        None,
        kinds.tokens(length, len(CHARACTERS), CHARACTERS),
        None,
        f'{name}, {length} characters',
    )


def windows(text: str, length: int, stride: int, name: str) -> np.ndarray:
    """The numbers of the characters in each window, `[N, length, 1]`.

    Raises:
        DataError: as `characters`.
    """
    numbers = {character: i for i, character in enumerate(CHARACTERS)}
    if other := sorted({*text} - numbers.keys()):
        raise DataError(f'{name} holds {other[0]!r}, and the vocabulary is line feed and printable ASCII')
    if len(text) < length:
        raise DataError(f'{name} has {len(text)} characters, and a window takes {length}')
    coded = np.fromiter(map(numbers.__getitem__, text), np.uint8, len(text))
    return np.lib.stride_tricks.sliding_window_view(coded, length)[::stride, :, None]
