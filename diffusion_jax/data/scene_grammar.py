"""The language of `data.scenes`: what a caption says, written and read.

    scene    = thing, or thing relation thing, or thing relation thing relation thing
    thing    = a [small | large] colour shape
    relation = left of | right of | above | below

A relation holds between the thing before it and the thing after it: "a red circle left of a blue square above a green
triangle" has the circle left of the square, and the square above the triangle.
"""

import itertools
import re
from typing import NamedTuple

from diffusion_jax.errors import UserError

SIZES = ('small', 'large')
COLOURS = ('red', 'green', 'blue', 'yellow', 'magenta', 'cyan')
SHAPES = ('circle', 'square', 'triangle')
RELATIONS = ('left of', 'right of', 'above', 'below')
MOST = 3  # things in a scene
WORDS = ('a', *SIZES, *COLOURS, *SHAPES, *dict.fromkeys(' '.join(RELATIONS).split()))
LENGTH = 4 * MOST + 2 * (MOST - 1)  # words of the longest caption

_THING = rf'a (?:({"|".join(SIZES)}) )?({"|".join(COLOURS)}) ({"|".join(SHAPES)})'
_RELATION = rf' ({"|".join(RELATIONS)}) '


class Thing(NamedTuple):
    """One coloured shape; a size of None is not said."""

    size: str | None
    colour: str
    shape: str


class Said(NamedTuple):
    """What a caption says: one to three things, and the relation of each to the next."""

    things: tuple[Thing, ...]
    relations: tuple[str, ...] = ()


def caption(said: Said) -> str:
    """The text that says it."""
    things = [' '.join(word for word in ('a', *thing) if word) for thing in said.things]
    return ' '.join(filter(None, itertools.chain(*itertools.zip_longest(things, said.relations))))


def parse(text: str) -> Said:
    """What a text of the grammar says; `caption` is its inverse.

    Raises:
        UserError: for a text that is none.
    """
    if not re.fullmatch(rf'{_THING}(?:{_RELATION}{_THING}){{0,{MOST - 1}}}', text):
        raise UserError(f"{text!r} is no caption: the form is 'a small red circle left of a blue square'")
    things = (Thing(size or None, colour, shape) for size, colour, shape in re.findall(_THING, text))
    return Said(tuple(things), tuple(re.findall(_RELATION, text)))
