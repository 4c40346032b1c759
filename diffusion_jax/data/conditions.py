"""What can be told beside x: parts of a condition, the row that tells nothing, rows checked and read.

A condition is a `Part`, or a dict of them; see `types.Part` for what rows look like.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from diffusion_jax.errors import UserError, nearest
from diffusion_jax.types import Condition, Masked, Part


def label(num: int) -> Part:
    """One of `num` classes."""
    return Part((), num)


def vector(dim: int) -> Part:
    """A vector of real numbers."""
    return Part((dim,))


def tokens(length: int, vocabulary: int) -> Part:
    """At most `length` tokens, each below `vocabulary`."""
    return Part((length,), vocabulary, sequence=True)


def features(length: int, dim: int) -> Part:
    """At most `length` vectors, as a frozen text encoder has them."""
    return Part((length, dim), sequence=True)


def image(shape: tuple[int, ...]) -> Part:
    """Values on the grid of x itself, with channels of their own."""
    return Part(tuple(shape))


def is_class(part: Part) -> bool:
    """Whether it is one class, and no several of them, tokens or real numbers."""
    return part.num is not None and not part.sequence and part.shape == ()


def of(parts: Any, read: Callable[[str], Any] | None = None) -> Condition:
    """The condition of these parts."""
    return Condition(parts, jax.tree.map(_null, parts), read)


def of_classes(num: int, names: Sequence[str] | None = None) -> Condition:
    """One of `num` classes; a text says it by its number, or by one of the `names` of the classes."""
    return of(label(num), functools.partial(_read_class, num=num, names=names))


def of_several(conditions: Mapping[str, Condition]) -> Condition:
    """Several conditions at once, a dict of their parts; a text says them as `a=1+b=2`."""

    def read(text: str) -> Any:
        given = {name: value for name, _, value in (item.partition('=') for item in text.split('+'))}
        for name in given:
            if name not in conditions:
                raise UserError(f'{name!r} is not told; {nearest(name, conditions)}')
        missing = [name for name in conditions if name not in given]
        if missing:
            raise UserError(f'{text!r} does not say {", ".join(missing)}: the form is a=1+b=2')
        return {name: reader(given[name]) for name, reader in readers.items()}

    readers = {name: condition.read for name, condition in conditions.items() if condition.read is not None}
    parts = {name: condition.parts for name, condition in conditions.items()}
    return of(parts, read if len(readers) == len(conditions) else None)


def of_bytes(length: int) -> Condition:
    """Text as its first `length` bytes in UTF-8."""
    return of(tokens(length, 256), functools.partial(encode_bytes, length=length))


def encode_bytes(text: str, length: int) -> Masked:
    """One row of `of_bytes`."""
    data = np.frombuffer(text.encode()[:length], np.uint8)
    values = np.zeros(length, np.int32)
    values[: len(data)] = data
    return Masked(values, np.arange(length) < len(data))


def of_words(words: Sequence[str], length: int) -> Condition:
    """Text as at most `length` words of a closed vocabulary, with blanks between them."""
    return of(tokens(length, len(words)), functools.partial(encode_words, words=words, length=length))


def encode_words(text: str, words: Sequence[str], length: int) -> Masked:
    """One row of `of_words`.

    Raises:
        UserError: for a word that is not in the vocabulary, too many of them, or none.
    """
    numbers = {word: i for i, word in enumerate(words)}
    said = text.split()
    if not said:
        raise UserError('there is no word in this text; --cond=nothing tells nothing')
    if len(said) > length:
        raise UserError(f'{len(said)} words, and this model is told at most {length}: {text!r}')
    for word in said:
        if word not in numbers:
            raise UserError(f'{word!r} is not in the vocabulary; {nearest(word, words)}')
    values = np.zeros(length, np.int32)
    values[: len(said)] = [numbers[word] for word in said]
    return Masked(values, np.arange(length) < len(said))


def _read_class(text: str, num: int, names: Sequence[str] | None) -> np.ndarray:
    if names and text in names:
        return np.asarray(list(names).index(text), np.int32)
    if not text.lstrip('-').isdigit() or not 0 <= int(text) < num:
        named = f'; {nearest(text, names)}' if names else ''
        raise UserError(f'{text!r} is no class: there are 0 to {num - 1}{named}')
    return np.asarray(int(text), np.int32)


def _null(part: Part) -> Any:
    if part.num is not None and not part.sequence:
        return np.full(part.shape, part.num, np.int32)
    dtype = np.float32 if part.num is None else np.int32
    return Masked(np.zeros(part.shape, dtype), np.zeros(part.shape[:1] if part.sequence else (), bool))


def check(condition: Condition, rows: Any, where: str, numbers: np.ndarray | None = None) -> None:
    """Refuses rows `[n, ...]` that are not what the condition says.

    Args:
        condition: what they should be.
        rows: a pytree of arrays.
        where: what to call them in the message.
        numbers: of the rows, `[n]`, where they are not 0, 1, ...

    Raises:
        UserError: for another structure, shape or type, or a class that there is not, with its row.
    """
    wanted = jax.tree.map(_null, condition.parts)
    if jax.tree.structure(rows) != jax.tree.structure(wanted):
        found, declared = (_form(tree) for tree in (rows, wanted))
        raise UserError(f'{where}: the conditions have the form {found}, and {declared} is declared')
    for row, null in zip(jax.tree.leaves(rows), jax.tree.leaves(wanted), strict=True):
        if row.shape[1:] != null.shape or np.dtype(row.dtype).kind != null.dtype.kind:
            raise UserError(
                f'{where}: the conditions have rows of shape {row.shape[1:]} and type {row.dtype}, and {null.shape}, '
                f'{null.dtype} is declared'
            )
    jax.tree.map(functools.partial(_check_values, where=where, numbers=numbers), condition.parts, rows)


def _form(tree):
    return jax.tree.map(lambda a: '*', tree)


def _check_values(part: Part, rows: Any, where: str, numbers: np.ndarray | None) -> None:
    if part.num is None:
        bad = ~np.isfinite(rows.values)
    else:
        values = rows.values if part.sequence else rows
        bad = (values < 0) | (values >= part.num)
        bad = bad & rows.mask if part.sequence else bad
    if bad.any():
        at = np.argwhere(bad)[0]
        row = at[0] if numbers is None else numbers[at[0]]
        wrong = 'NaN or infinity' if part.num is None else f'{values[tuple(at)]}, which is not in 0 .. {part.num - 1}'
        raise UserError(f'{where}: the condition of row {row} holds {wrong}')
