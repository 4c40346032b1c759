"""The language of scenes: what captions say, and what is no caption."""

import itertools
import random

import pytest

from diffusion_jax.data import scene_grammar as grammar
from diffusion_jax.data.scene_grammar import Said, Thing, caption, parse
from diffusion_jax.errors import UserError

RED, BLUE, GREEN = Thing('small', 'red', 'circle'), Thing(None, 'blue', 'square'), Thing('large', 'green', 'triangle')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('a blue square', Said((BLUE,))),
        ('a small red circle left of a blue square', Said((RED, BLUE), ('left of',))),
        (
            'a large green triangle below a small red circle right of a blue square',
            Said((GREEN, RED, BLUE), ('below', 'right of')),
        ),
    ],
)
def test_what_captions_say(text, said):
    assert parse(text) == said
    assert caption(said) == text


def test_captions_are_read_as_they_were_written():
    things = [Thing(*t) for t in itertools.product((None, *grammar.SIZES), grammar.COLOURS, grammar.SHAPES)]
    rng = random.Random(0)
    for n in range(3000):
        count = 1 + n % 3
        said = Said(tuple(rng.choices(things, k=count)), tuple(rng.choices(grammar.RELATIONS, k=count - 1)))
        assert parse(caption(said)) == said
    assert all(parse(caption(Said((thing,)))) == Said((thing,)) for thing in things)


def test_the_vocabulary_is_that_of_the_captions_and_no_caption_is_longer():
    longest = caption(Said((RED, GREEN, RED), ('left of', 'right of')))
    assert len(longest.split()) == grammar.LENGTH == 16
    every = {word for part in (grammar.SIZES, grammar.COLOURS, grammar.SHAPES, grammar.RELATIONS) for word in part}
    assert {*grammar.WORDS} == {'a', *' '.join(every).split()}
    assert len({*grammar.WORDS}) == len(grammar.WORDS)


@pytest.mark.parametrize(
    'text',
    [
        '',
        'a circle',
        'red circle',
        'a red small circle',
        'a red circle left a blue square',
        'a red circle a blue square',
        'a red circle left of',
        'a  red circle',
        'a red circle above a red circle above a red circle above a red circle',
    ],
)
def test_what_is_no_caption(text):
    with pytest.raises(UserError, match='is no caption: the form is'):
        parse(text)
