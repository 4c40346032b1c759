"""Sequences of symbols: the split of a chain, the windows of a text, and what shows them."""

import numpy as np
import pytest

from diffusion_jax.data import kinds, markov, sequences, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.quantise import from_levels

TEXT = 'First Citizen:\nBefore we proceed any further, hear me speak.\n'


def spelled(numbers):
    return ''.join(sequences.CHARACTERS[i] for i in np.asarray(numbers).ravel())


def test_a_chain_is_the_same_each_time_and_its_splits_are_not():
    train, again, test = (
        sources.checked(sequences.chain(markov.cyclic(5), 300, 7, 1, split, condition='label'))
        for split in ('train', 'train', 'test')
    )
    np.testing.assert_array_equal(train.x, again.x)
    assert {row.tobytes() for row in np.asarray(train.x)} - {row.tobytes() for row in np.asarray(test.x)}
    assert train.x.shape == (300, 7, 1)
    np.testing.assert_array_equal(train.cond, np.asarray(train.x)[:, 0, 0])
    assert train.condition.read('C') == 2
    assert train.kind.levels == 5
    assert sequences.chain(markov.cyclic(5), 3, 7, 1).cond is None


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'split': 'all'}, "chain has no split 'all'; it has train, test"),
        ({'condition': 'last'}, "can tell its 'label' or nothing; got condition='last'"),
        ({'n': 0}, r'n must be a whole number in \[1, 2147483648\)'),
        ({'length': 0}, r'length must be a whole number in \[1, inf\)'),
        ({'seed': -1}, r'seed must be a whole number in'),
        ({'chain': markov.cyclic(27)}, r'symbols must be a whole number in \[1, 26\]; got 27'),
    ],
)
def test_what_a_chain_refuses(arguments, message):
    with pytest.raises((DataError, ValueError), match=message):
        sequences.chain(**{'chain': markov.cyclic(3), 'n': 4, 'length': 3, 'seed': 0, **arguments})


def test_windows_are_the_text():
    assert len(sequences.CHARACTERS) == len(set(sequences.CHARACTERS)) == 96
    x = sequences.windows(TEXT, 10, 10, 'a text')
    assert spelled(x) == TEXT[: len(TEXT) // 10 * 10]
    x = sequences.windows(TEXT, 10, 3, 'a text')
    assert x.shape == (len(range(0, len(TEXT) - 9, 3)), 10, 1)
    assert all(spelled(row) == TEXT[3 * i : 3 * i + 10] for i, row in enumerate(x))


def test_what_windows_refuse():
    with pytest.raises(DataError, match="a text holds '\\u00e9', and the vocabulary is line feed and printable ASCII"):
        sequences.windows('caf\u00e9', 2, 1, 'a text')
    with pytest.raises(DataError, match='a text has 4 characters, and a window takes 5'):
        sequences.windows('cafe', 5, 1, 'a text')


def test_characters_are_a_source(monkeypatch):
    asked = []

    def texts(*where):
        asked.append(where)
        return 'plays/1.0.0/test', [TEXT, TEXT]

    monkeypatch.setattr(sources, 'texts', texts)
    source = sources.checked(sequences.characters('plays', 'DIR', 'test', length=20))
    assert asked == [('plays', 'text', 'DIR', 'test')]
    assert spelled(source.x[np.arange(len(source.x))]) == f'{TEXT}\n{TEXT}'[: 20 * len(source.x)]
    assert (source.kind.shape, source.kind.levels) == ((20, 1), 96)
    for wrong in ({'length': 0}, {'stride': 0}):
        with pytest.raises(ValueError, match='must be a whole number in'):
            sequences.characters('plays', **wrong)


def test_tokens_are_shown_by_their_alphabet_and_stored_as_numbers(tmp_path):
    kind = kinds.tokens(4, 3, 'xyz')
    numbers = np.array([[0, 1, 2, 1], [0, 0, 1, 1]], np.uint8)[..., None]
    x = from_levels(numbers, 3)
    np.testing.assert_array_equal(kind.store(x), numbers)
    np.testing.assert_array_equal(kind.read(numbers), x)
    np.testing.assert_array_equal(kind.read(numbers[1:]), x[1:])  # zeros and ones are tokens too
    kind.show(tmp_path / 'shown', x)
    assert (tmp_path / 'shown.txt').read_text() == 'xyzy\nxxyy\n'
    kinds.tokens(3, 3, 'a\nb').show(tmp_path / 'lines', from_levels(np.array([[[0], [1], [2]], [[2], [2], [2]]]), 3))
    assert (tmp_path / 'lines.txt').read_text() == f'a\nb\n{40 * "-"}\nbbb\n'
