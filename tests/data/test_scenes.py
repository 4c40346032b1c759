"""Scenes: their splits, what is where in them, and the pictures against shapes sampled point by point."""

import functools
import itertools

import numpy as np
import pytest

from diffusion_jax.data import scenes, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.scene_grammar import COLOURS, SHAPES, WORDS, Thing, caption, parse
from diffusion_jax.data.scenes import Placed
from diffusion_jax.errors import UserError


@functools.cache
def drawn(split):
    return [scenes.draw(3, i, split) for i in range(1500)]


@functools.cache
def all_drawn():
    return [scene for split in scenes.SPLITS for scene in drawn(split)]


def pairs(scene):
    return [(placed.thing.colour, placed.thing.shape) for placed in scene.placed]


def test_pairs_are_seen_or_held_out_and_each_word_is_seen():
    assert {*scenes.SEEN} & {*scenes.HELD_OUT} == set()
    assert {*scenes.SEEN} | {*scenes.HELD_OUT} == {*itertools.product(COLOURS, SHAPES)}
    assert {colour for colour, _ in scenes.SEEN} == {*COLOURS}
    assert {shape for _, shape in scenes.SEEN} == {*SHAPES}


def test_splits_hold_the_pairs_that_they_say():
    for split in ('train', 'test'):
        assert {pair for scene in drawn(split) for pair in pairs(scene)} == {*scenes.SEEN}
    assert all({*pairs(scene)} & {*scenes.HELD_OUT} for scene in drawn('held_out'))
    assert {pair for scene in drawn('held_out') for pair in pairs(scene)} == {*scenes.SEEN, *scenes.HELD_OUT}
    assert all(len({*pairs(scene)}) == len(scene.placed) for scene in all_drawn())
    pictures = [{scenes.render(s.placed).tobytes() for s in drawn(split)} for split in ('train', 'test')]
    assert not pictures[0] & pictures[1]


def test_a_scene_is_a_function_of_seed_split_and_number():
    assert [scenes.draw(3, i, 'test') for i in range(9)] == drawn('test')[:9]
    assert scenes.draw(4, 0) != scenes.draw(3, 0)
    assert len({drawn(split)[0] for split in scenes.SPLITS}) == 3


def test_counts_sizes_and_held_out_pairs_are_equally_frequent():
    counts = np.bincount([len(scene.placed) for scene in all_drawn()])
    np.testing.assert_allclose(counts[1:] / len(all_drawn()), 1 / 3, atol=0.03)
    things = [
        (placed, said) for scene in all_drawn() for placed, said in zip(scene.placed, scene.said.things, strict=True)
    ]
    large = np.mean([placed.thing.size == 'large' for placed, _ in things])
    np.testing.assert_allclose(large, 0.5, atol=0.02)
    np.testing.assert_allclose(np.mean([said.size is not None for _, said in things]), 0.75, atol=0.02)
    alone = [pairs(scene)[0] for scene in drawn('held_out') if len(scene.placed) == 1]
    np.testing.assert_allclose([alone.count(pair) / len(alone) for pair in scenes.HELD_OUT], 1 / 3, atol=0.08)


def test_captions_say_what_is_there():
    for scene in all_drawn():
        assert parse(caption(scene.said)) == scene.said
        for placed, said in zip(scene.placed, scene.said.things, strict=True):
            assert said in (placed.thing, placed.thing._replace(size=None))
            low, high = scenes.RADII[placed.thing.size]
            assert low <= placed.r <= high


def test_relations_are_by_the_longer_way():
    far = {'left of': (1, 0), 'right of': (-1, 0), 'above': (0, 1), 'below': (0, -1)}  # from a to b, y downwards
    a = Placed(Thing('small', 'red', 'circle'), 10.0, 12.0, 2.7)
    for said, (dx, dy) in far.items():
        assert scenes.relation(a, a._replace(x=a.x + 9 * dx + 3 * dy, y=a.y + 9 * dy + 3 * dx)) == said
    for scene in all_drawn():
        assert len(scene.said.relations) == len(scene.placed) - 1
        for first, said, second in zip(scene.placed, scene.said.relations, scene.placed[1:], strict=False):
            along, across = np.array(far[said]), np.array(far[said])[::-1]
            step = np.array([second.x - first.x, second.y - first.y])
            assert along @ step >= abs(across @ step) + 2


def inside(placed, x, y):
    """Whether points are in a shape, by distances and half planes."""
    u, v = (x - placed.x) / placed.r, (y - placed.y) / placed.r
    if placed.thing.shape == 'circle':
        return np.hypot(u, v) < 1
    if placed.thing.shape == 'square':
        return np.maximum(np.abs(u), np.abs(v)) < 1
    corners = np.array([(0, -4 / 3), (1, 2 / 3), (-1, 2 / 3)])  # whose mean is the centre
    sides = zip(corners, np.roll(corners, -1, 0), strict=True)
    return np.all([(q[0] - p[0]) * (v - p[1]) - (q[1] - p[1]) * (u - p[0]) > 0 for p, q in sides], axis=0)


@pytest.mark.parametrize('index', range(6))
def test_pictures_are_the_shapes_sampled_densely(index):
    scene = drawn('held_out')[index]
    fine = (np.arange(32 * 20) + 0.5) / 20
    expected = np.zeros((32, 32, 3))
    for placed in scene.placed:
        covered = inside(placed, fine[None], fine[:, None]).reshape(32, 20, 32, 20).mean((1, 3))
        expected += covered[..., None] * np.array(scenes.RGB[placed.thing.colour])
    np.testing.assert_allclose(
        scenes.render(scene.placed) / 255, expected, atol=0.1
    )  # edges along x are sampled by eight rows


def test_shapes_have_their_area_and_centre_and_stay_apart():
    area = {'circle': np.pi, 'square': 4, 'triangle': 2}
    middle = np.arange(32) + 0.5
    for scene in all_drawn()[:600]:
        total = np.zeros((32, 32))
        for placed in scene.placed:
            cover = scenes.render((placed,)).max(-1) / 255
            assert cover.sum() == pytest.approx(area[placed.thing.shape] * placed.r**2, rel=0.03)
            found = np.array([cover.sum(0) @ middle, cover.sum(1) @ middle]) / cover.sum()
            np.testing.assert_allclose(found, [placed.x, placed.y], atol=0.1)
            assert not cover[[0, -1]].any()
            assert not cover[:, [0, -1]].any()
            near = np.pad(cover > 0, 1)
            grown = np.max([near[i : i + 32, j : j + 32] for i in range(3) for j in range(3)], axis=0)
            assert not (grown & (total > 0)).any()  # a black pixel between them, diagonally too
            total += cover


def test_a_source_reads_its_rows_in_any_order():
    source = sources.checked(scenes.scenes(40, 3, 'test'))
    index = np.array([7, 0, 39])
    np.testing.assert_array_equal(source.x[index], [scenes.render(drawn('test')[i].placed) for i in index])
    told = source.cond[index]
    texts = [' '.join(np.array(WORDS)[v[m]]) for v, m in zip(told.values, told.mask, strict=True)]
    assert texts == [caption(drawn('test')[i].said) for i in index]
    row = source.condition.read(texts[0])
    np.testing.assert_array_equal(row.values, told.values[0])
    np.testing.assert_array_equal(row.mask, told.mask[0])
    assert len(source.x) == len(source.cond) == 40
    assert source.name == 'scenes/n=40,seed=3/test'
    assert scenes.scenes(4, condition=None).cond is None


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'split': 'heldout'}, "scenes has no split 'heldout'; did you mean held_out"),
        ({'condition': 'label'}, "can tell its 'caption' or nothing; got condition='label'"),
        ({'n': 0}, r'n must be a whole number in \[1, 2147483648\)'),
        ({'seed': -1}, r'seed must be a whole number in \[0, 4294967296\)'),
    ],
)
def test_what_a_source_refuses(arguments, message):
    with pytest.raises((DataError, ValueError), match=message):
        scenes.scenes(**{'n': 4, **arguments})


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a red circel', "'circel' is not in the vocabulary; did you mean circle?"),
        ('a Red circle', "'Red' is not in the vocabulary; did you mean red?"),
        (' '.join(['a'] * 17), '17 words, and this model is told at most 16'),
        ('', 'there is no word in this text; --cond=nothing tells nothing'),
        (' \n', 'there is no word in this text'),
    ],
)
def test_what_is_no_prompt(text, message):
    with pytest.raises(UserError, match=message.replace('?', r'\?')):
        scenes.told().read(text)
