"""Moving digits: a clip's centre of mass is the law, mirrors and straight lines say what the law is."""

import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.data import conditions, kinds, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.moving_digits import Walls, centre, moving_digits, reflected, shifted
from diffusion_jax.data.sources import Source

DIGITS = {split: sources.digits(split, 'label') for split in ('train', 'test')}
WALLS = Walls(2.0, 9.0)


def of(split='train', n=500, **settings):
    return moving_digits(DIGITS[split], n=n, **settings)


def test_the_law_is_that_of_a_ball_between_walls():
    """Followed in a thousand small steps, at each wall of which the velocity changes its sign."""
    rng, dt = np.random.default_rng(0), 1e-3
    start, v = rng.uniform(*WALLS, 50), rng.uniform(-7, 7, 50)
    place, speed = start.copy(), v.copy()
    for _ in range(3000):
        place += speed * dt
        speed = np.where(place < WALLS.low, abs(speed), np.where(place > WALLS.high, -abs(speed), speed))
    np.testing.assert_allclose(reflected(start + 3 * v, WALLS), place, atol=0.05)
    np.testing.assert_array_equal(reflected(np.array([2.0, 5.5, 9.0]), WALLS), [2, 5.5, 9])
    np.testing.assert_array_equal(reflected(np.array([1.0, 9.5, 16.0, -12.0]), WALLS), [3, 8.5, 2, 2])


def test_a_clips_centre_of_mass_is_the_law():
    """And its mass is the digit's, in every frame: nothing leaves the frame."""
    for split in DIGITS:
        clips, index = of(split, size=18, frames=6).x, np.arange(500)
        x = clips[index][..., 0] / 255
        np.testing.assert_allclose(centre(x), clips.centres(index), atol=0.01)
        mass = (DIGITS[split].x[clips.chosen] / 16).sum((1, 2, 3))
        np.testing.assert_allclose(x.sum((2, 3)), mass[:, None].repeat(6, 1), rtol=0.01)


def test_places_and_steps_follow_from_start_and_velocity():
    clips, index = of(slowest=0.8, fastest=1.2).x, np.arange(500)
    places = clips.centres(index)
    np.testing.assert_allclose(places[:, 0], clips.start, atol=1e-12)
    assert places.min() >= 4.75
    assert places.max() <= 10.25
    steps = np.diff(places, axis=1)
    t = np.arange(8)[:, None]
    free = clips.start[:, None] + t * clips.velocity[:, None]
    straight = ((free >= 4.75) & (free <= 10.25)).all(1)  # along this axis it meets no wall
    assert 0.1 < straight.mean() < 0.9
    for axis in (0, 1):
        rows = straight[:, axis]
        np.testing.assert_allclose(steps[rows, :, axis], clips.velocity[rows, None, axis].repeat(7, 1), atol=1e-12)
    speed = np.hypot(*clips.velocity.T)
    assert speed.min() >= 0.8
    assert speed.max() <= 1.2
    assert speed.std() == pytest.approx(0.4 / np.sqrt(12), rel=0.1)
    angle = np.arctan2(*clips.velocity.T)
    assert np.abs(np.exp(1j * angle).mean()) < 0.15  # no direction is preferred
    np.testing.assert_allclose(clips.start.mean(0), 7.5, atol=0.3)


def test_a_whole_shift_is_a_shift_and_half_a_pixel_a_mean():
    image = np.random.default_rng(0).uniform(size=(3, 4, 5))
    whole = shifted(image, np.tile([2.0, 1.0], (3, 1)), (7, 8))
    np.testing.assert_allclose(whole[:, 2:6, 1:6], image, atol=1e-15)
    assert whole.sum() == pytest.approx(image.sum())
    half = shifted(image, np.tile([0.0, 0.5], (3, 1)), (4, 6))
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1)))
    np.testing.assert_allclose(half, (padded[..., 1:] + padded[..., :-1]) / 2, atol=1e-15)
    np.testing.assert_allclose(centre(np.zeros((1, 4, 5))), [[1.5, 2.0]])


def test_a_row_depends_on_its_number_seed_and_split_alone():
    index = np.array([7, 0, 499])
    source = of()
    x = source.x[index]
    np.testing.assert_array_equal(x, of(n=1000).x[index])
    np.testing.assert_array_equal(x[::-1], source.x[index[::-1]])
    assert (of(seed=1).x.start[0] != source.x.start[0]).all()
    assert (of('test').x.start[0] != source.x.start[0]).all()
    np.testing.assert_array_equal(source.cond, DIGITS['train'].cond[source.x.chosen])
    first = DIGITS['train'].x[source.x.chosen[index], ..., 0] / 16
    moved = shifted(first, source.x.centres(index)[:, 0] - centre(first), (16, 16))
    np.testing.assert_allclose(x[:, 0, ..., 0] / 255, moved, atol=0.5 / 255 + 1e-6)


def test_shrinking_takes_means_of_blocks():
    clips = of(shrink=2, margin=3.0, size=12, n=50).x
    blocks = DIGITS['train'].x[clips.chosen, ..., 0].reshape(50, 4, 2, 4, 2) / 16
    np.testing.assert_allclose(clips.images[clips.chosen], blocks.mean((2, 4)), atol=1e-6)


def test_a_config_says_digits_split_and_condition():
    spec = {'name': 'moving_digits', 'images': {'name': 'digits', 'split': 'train', 'condition': 'label'}, 'n': 9}
    train, test = builders.build_source(spec), builders.build_source(spec, 'test')
    assert train.name.startswith('moving_digits of digits/train, 8x16x16, 0.5 to 1.5 px')
    assert test.name.startswith('moving_digits of digits/test')
    assert train.kind.name == 'video'
    assert train.kind.shape == (8, 16, 16, 1)
    np.testing.assert_array_equal(train.cond, of(n=9).cond)
    untold = builders.build_source({**spec, 'images': {**spec['images'], 'condition': None}})
    assert untold.cond is untold.condition is None
    np.testing.assert_array_equal(untold.x[np.arange(9)], train.x[np.arange(9)])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'margin': 4.0}, r'digits/train: an image reaches 4.67 pixels from its centre of mass, margin=4.0'),
        ({'shrink': 3}, 'moving digits are grey pictures whose sides shrink=3 divides'),
        ({'fastest': 5.6}, 'at most 5.5 pixels a frame, which is from wall to wall for size=16, margin=4.75'),
        ({'slowest': 2.0}, 'slowest=2.0 must be at most fastest=1.5'),
        ({'slowest': -0.1}, r'slowest must be in \[0, inf\)'),
        ({'fastest': 0.0}, r'fastest must be in \(0, inf\)'),
        ({'margin': -1.0}, r'margin must be in \[0, inf\)'),
        ({'frames': 0}, r'frames must be a whole number in \[1, 32768\)'),
        ({'shrink': 0}, r'shrink must be a whole number in \[1, 32768\)'),
        ({'size': 1}, r'size must be a whole number in \[2, 32768\)'),
        ({'n': 0}, r'n must be a whole number in \[1, 2147483648\)'),
        ({'seed': -1}, r'seed must be a whole number in \[0, 4294967296\)'),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises((DataError, ValueError), match=message):
        of(**{'n': 4, **settings})


def test_pictures_in_colour_do_not_move():
    x = np.zeros((4, 8, 8, 3), np.uint8)
    coloured = Source(x, np.zeros(4, np.int32), kinds.images((8, 8, 3)), conditions.of_classes(10), 'colours')
    with pytest.raises(DataError, match='colours: moving digits are grey pictures'):
        moving_digits(coloured, n=4)
