"""The judge of scenes: it inverts the renderer, fails where pictures are spoilt, and scores what a caption says."""

import math

import numpy as np
import pytest

from diffusion_jax.data import scenes
from diffusion_jax.data.scene_grammar import parse
from diffusion_jax.evaluation.scenes import kept, read

SAID = parse('a small red circle left of a large blue square')
RED = scenes.Placed(SAID.things[0], 8.0, 16.0, 2.7)
BLUE = scenes.Placed(SAID.things[1], 22.0, 16.0, 4.5)


def order(placed):
    return sorted(placed, key=lambda p: (p.thing.colour, p.thing.shape))


@pytest.mark.slow
@pytest.mark.parametrize('split', scenes.SPLITS)
def test_the_judge_inverts_the_renderer(split):
    for i in range(700):
        scene = scenes.draw(11, i, split)
        image = scenes.render(scene.placed)
        found, expected = order(read(image if i % 2 else image / np.float32(127.5) - 1)), order(scene.placed)
        assert [p.thing for p in found] == [p.thing for p in expected]
        for a, b in zip(found, expected, strict=True):
            assert (a.x, a.y) == pytest.approx((b.x, b.y), abs=0.25)
            assert a.r == pytest.approx(b.r, rel=0.06)
        assert np.nanmin(kept(scene.said, found)) == 1


def test_shapes_that_touch_and_shapes_of_one_colour_are_told_apart():
    green = scenes.Placed(parse('a small green square').things[0], 14.0, 16.0, 2.7)
    assert len(read(scenes.render((RED, green, BLUE)))) == 3
    assert len(read(scenes.render((RED, RED._replace(x=16.0))))) == 2


def test_what_is_no_thing_of_a_scene():
    assert read(np.zeros((32, 32, 3), np.uint8)) == []
    image = scenes.render((RED,))
    image[2, 2] = image[30, 30] = (0, 255, 0)  # dust
    assert [p.thing for p in read(image)] == [RED.thing]
    image[20:26, 20:26] = 255
    assert [p.thing.colour for p in read(image)] == ['red', 'white']


def test_what_has_no_shape_is_a_blob():
    def shape(rows, columns):
        image = np.zeros((32, 32, 3), np.uint8)
        image[rows, columns, 1] = 255
        (placed,) = read(image)
        return placed.thing.shape

    i, j = np.indices((32, 32)) - 15.5
    assert shape(*np.nonzero(np.maximum(abs(i), abs(j)) < 4)) == 'square'
    assert shape(slice(4, 8), slice(4, 20)) == 'blob'  # a rectangle
    assert shape(*np.nonzero((i / 6) ** 2 + (j / 3) ** 2 < 1)) == 'blob'  # an ellipse
    assert shape(*np.nonzero((abs(i) < 1.5) | (abs(j) < 1.5) & (abs(i) < 9))) == 'blob'  # a cross
    assert shape(*np.nonzero((i < 4) & (i > -5) & (abs(j) < (4 - i) / 2))) == 'blob'  # a triangle upside down
    assert shape(*np.nonzero((i < 4) & (i > -5) & (abs(j) < (i + 5) / 2))) == 'triangle'


@pytest.mark.parametrize(
    ('found', 'values'),  # count, colour, shape, size, relation, all
    [
        ((RED, BLUE), (1, 1, 1, 1, 1, 1)),
        ((BLUE, RED), (1, 1, 1, 1, 1, 1)),  # the order in which they are found does not matter
        ((), (0, 0, 0, 0, 0, 0)),
        ((RED,), (0, 0.5, 0.5, 0.5, 0, 0)),
        ((RED, BLUE, BLUE._replace(y=28.0)), (0, 1, 1, 1, 1, 0)),
        ((RED._replace(x=30.0), BLUE), (1, 1, 1, 1, 0, 0)),
        (
            (RED._replace(thing=RED.thing._replace(colour='cyan')), BLUE),
            (1, 0.5, 1, 1, 0, 0),
        ),  # no red one is left of anything
        ((RED, BLUE._replace(thing=BLUE.thing._replace(shape='triangle'))), (1, 1, 0.5, 1, 0, 0)),
        ((RED, BLUE._replace(thing=BLUE.thing._replace(size='small'))), (1, 1, 1, 0.5, 1, 0)),
    ],
)
def test_what_is_kept_of_a_caption(found, values):
    assert kept(SAID, found) == values


def test_what_is_not_said_is_not_scored():
    said = parse('a red circle')
    count, colour, shape, size, relation, whole = kept(said, [RED])
    assert (count, colour, shape, whole) == (1, 1, 1, 1)
    assert math.isnan(size)
    assert math.isnan(relation)
    assert kept(said, [RED._replace(thing=RED.thing._replace(size='large'))]).all == 1


def test_relations_are_of_neighbours_in_the_caption():
    said = parse('a small red circle left of a large blue square above a green circle')
    green = scenes.Placed(parse('a small green circle').things[0], 22.0, 28.0, 2.7)
    assert kept(said, [RED, BLUE, green]).relation == 1
    assert kept(said, [RED, BLUE, green._replace(y=4.0)]).relation == 0.5


def test_the_judge_fails_on_pictures_that_show_something_else():
    """Strong noise, or the caption of another."""
    rng = np.random.default_rng(0)
    drawn = [scenes.draw(12, i) for i in range(120)]
    x = [scenes.render(s.placed) / 127.5 - 1 for s in drawn]
    noisy = [kept(s.said, read(a + rng.normal(0, 1.5, a.shape))).all for s, a in zip(drawn[:30], x, strict=False)]
    wrong = [kept(s.said, read(image)) for s, image in zip(drawn[1:], x[:-1], strict=True)]
    assert np.mean(noisy) < 0.1
    assert np.mean([k.all for k in wrong]) < 0.05
    assert np.mean([k.count for k in wrong]) == pytest.approx(1 / 3, abs=0.1)  # three counts, equally often
