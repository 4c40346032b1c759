"""The judges of clips: exact where the law is, worse where clips are spoilt, and blind to what they should not see."""

import numpy as np
import pytest

from diffusion_jax.data import sources
from diffusion_jax.data.moving_digits import Walls, moving_digits, reflected, shifted
from diffusion_jax.data.quantise import from_levels
from diffusion_jax.evaluation import clips
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.evaluation.rows import Values

WALLS = Walls(4.75, 10.25)
REAL = moving_digits(sources.digits('test', 'label'), n=100)
X = Values(REAL)[:]
SPOILT = {name: spoil(X) for name, spoil in clips.corruptions().items()}
T = np.arange(8)


def fitted(x):
    return clips.fit(clips.track(x), WALLS, 2.25)


def law_of(motion, t=T):
    return reflected(motion.start[:, None] + motion.velocity[:, None] * t[:, None], WALLS)


def test_a_bright_square_is_where_it_is():
    x = np.full((1, 2, 9, 9, 1), -1.0)
    x[0, 0, 2:5, 3:6] = 1
    x[0, 1, 4, 7], x[0, 1, 4, 5] = 1, 0  # three quarters of the way: intensities 1 and 1 / 2
    np.testing.assert_allclose(clips.track(x, 0.0), [[[3, 4], [4, 7 - 2 / 3]]])
    x[0, 0] = np.maximum(x[0, 0], -0.91)  # a faint grey everywhere is black
    np.testing.assert_allclose(clips.track(x)[0, 0], [3, 4])
    np.testing.assert_allclose(clips.track(np.full((1, 1, 9, 9, 1), -1.0)), [[[4, 4]]])


def test_the_fit_finds_the_law_exactly():
    """Without pixels between: whatever start and velocity, the residual vanishes and so does the speed's error."""
    rng = np.random.default_rng(0)
    start, velocity = rng.uniform(*WALLS, (300, 2)), rng.uniform(-2, 2, (300, 2))
    places = reflected(start[:, None] + velocity[:, None] * T[:, None], WALLS)
    motion = clips.fit(places, WALLS, 2.25)
    np.testing.assert_allclose(motion.position_error, 0, atol=1e-9)
    np.testing.assert_allclose(motion.speed_error, 0, atol=1e-9)
    np.testing.assert_allclose(np.abs(motion.velocity), np.abs(velocity), atol=1e-9)
    np.testing.assert_allclose(law_of(motion), places, atol=1e-9)
    far = T + 20
    np.testing.assert_allclose(law_of(motion, far), law_of(clips.Motion(start, velocity, *[start] * 2), far), atol=1e-7)


def test_errors_are_those_of_what_is_added():
    """Between walls too far to matter: residuals of a line fit have T - 2 degrees of freedom along each axis."""
    rng, walls = np.random.default_rng(1), Walls(-100.0, 100.0)
    places = rng.uniform(-2, 2, (400, 1, 2)) + rng.uniform(-1, 1, (400, 1, 2)) * T[:, None]
    noise = 0.1 * rng.standard_normal(places.shape)
    motion = clips.fit(places + noise, walls, 20.0)
    assert (motion.position_error**2).mean() == pytest.approx(2 * 0.01 * 6 / 8, rel=0.05)
    slope, level = np.polyfit(T, (places + noise)[0, :, 1], 1)
    assert motion.velocity[0, 1] == pytest.approx(slope, abs=1e-9)
    assert motion.start[0, 1] == pytest.approx(level, abs=1e-9)
    zigzag = np.zeros((1, 8, 2))
    zigzag[0, :, 0] = 0.3 * (-1) ** T
    position, speed = clips.deviations(zigzag, np.zeros_like(zigzag))
    np.testing.assert_allclose([position[0], speed[0]], [0.3, 0.6])


def test_real_clips_have_the_law_and_the_velocities_that_they_were_drawn_with():
    motion = fitted(X)
    assert motion.position_error.max() < 0.03
    assert motion.speed_error.max() < 0.05
    assert clips.lawful(motion, 0.5, 1.5).all()
    np.testing.assert_allclose(np.abs(motion.velocity), np.abs(REAL.x.velocity), atol=0.02)


def test_spoilt_clips_are_worse_by_the_judge_that_should_see_it():
    motion = {name: fitted(x) for name, x in SPOILT.items()}
    position = {name: m.position_error.mean() for name, m in motion.items()}
    lawful = {name: clips.lawful(m, 0.5, 1.5).mean() for name, m in motion.items()}
    shape = {name: clips.shape_change(x).mean() for name, x in SPOILT.items()}
    for name in ('as they are', 'backwards', 'another digit half-way'):  # these move by the law
        assert position[name] < 0.03
        assert lawful[name] == 1
    assert position['frames shuffled'] > 20 * position['as they are']
    assert position['jitter of 0.5 px'] > 20 * position['as they are']
    assert max(lawful['frames shuffled'], lawful['jitter of 0.5 px'], lawful['noise of 0.2']) < 0.5
    assert position['first frame held'] == pytest.approx(0, abs=1e-9)
    assert lawful['first frame held'] == 0  # it stands still
    assert shape['another digit half-way'] > 1.3 * shape['as they are']
    assert shape['noise of 0.2'] > 3 * shape['as they are']
    jitter = np.sqrt(2 * 0.25 * 6 / 8)  # what is left of N(0, 0.5^2) by a line's two parameters of each axis
    assert position['jitter of 0.5 px'] == pytest.approx(jitter, rel=0.1)


def test_shapes_that_stay_and_that_have_nothing_in_common():
    image = np.random.default_rng(0).integers(0, 256, (1, 7, 7)) / 255
    by = np.array([[[2.0, 3.0], [5.0, 1.0], [4.0, 6.0]]])
    moved = shifted(np.broadcast_to(image[:, None], (1, 3, 7, 7)), by, (13, 13))
    x = 2 * moved[..., None] - 1
    assert clips.shape_change(x)[0] == pytest.approx(0, abs=0.02)  # what is below the floor is lost
    odd = np.full((1, 2, 13, 13, 1), -1.0)
    odd[0, 0, 6, 4::4] = 1  # columns 4, 8 and 12, around 8
    odd[0, 1, 5::2, 6] = 1  # rows 5 to 11, around 8: four in the place of three, and none where one was
    assert clips.shape_change(odd)[0] == pytest.approx((3 + 4) / 3)
    np.testing.assert_allclose(clips.track(clips.centred(X, 0.0), 0.0), 7.5, atol=1e-3)


def by_mass(classes):
    """A judge by how bright a frame is, whose logits need no training."""

    def outputs(x):
        mass = (np.asarray(x) + 1).sum((1, 2, 3)) / 2
        return Outputs(np.asarray(mass)[:, None], None, -np.abs(mass[:, None] - np.arange(classes) * 10))

    return Features('mass', outputs, 'none')


def test_what_is_said_of_frames_and_of_clips():
    mass = X.sum((2, 3, 4)) / 2 + 128
    found = clips.said(by_mass(5), X)
    sure = np.abs(mass % 10 - 5) > 0.5  # centring loses what is below the floor
    assert sure.mean() > 0.8
    np.testing.assert_array_equal(found[sure], np.rint(mass / 10).astype(int).clip(0, 4)[sure])
    classes = np.array([[1, 1, 2, 1], [3, 3, 3, 3], [0, 2, 2, 0]])
    np.testing.assert_array_equal(clips.most_said(classes), [1, 3, 0])
    np.testing.assert_array_equal(clips.one_class(classes), [False, True, False])


def test_the_judge_sees_all_frames_of_clips_centred_and_with_their_label():
    source = clips.in_one_frame(REAL, 5)
    assert len(source.x) == len(source.cond) == 40
    index = np.array([39, 0, 17])
    expected = clips.centred(X[[4, 0, 2]])[np.arange(3), [7, 0, 1]]
    np.testing.assert_allclose(from_levels(source.x[index], 256), expected, atol=1 / 255)
    np.testing.assert_array_equal(source.cond[index], REAL.cond[[4, 0, 2]])


def test_features_see_one_frame_and_one_step_of_each_clip():
    x = np.arange(3 * 4).reshape(3, 4, 1, 1, 1).astype(float) ** 2
    np.testing.assert_array_equal(clips.single_frames(x).ravel(), [0, 25, 100])
    np.testing.assert_array_equal(clips.single_steps(x).ravel(), [0.5, (36 - 25) / 2, (121 - 100) / 2])


def test_a_continuation_is_compared_from_its_first_own_frame_on():
    truth = np.cumsum(np.ones((2, 6, 2)), axis=1)
    places = truth.copy()
    places[0, :3] += 5  # what was given is not compared
    places[1, 4:, 0] += 0.3
    position, speed = clips.continued(places[1:], truth[1:], 3)
    np.testing.assert_allclose([position[0], speed[0]], [0.3 * np.sqrt(2 / 3), 0.3 / np.sqrt(3)])
    position, speed = clips.continued(places[:1], truth[:1], 3)
    assert position[0] == 0
    assert speed[0] == pytest.approx(5 * np.sqrt(2 / 3))  # the step out of the given frames is
    for given in (0, 6):
        with pytest.raises(ValueError, match=r'given must be a whole number|a distance of places needs a frame'):
            clips.continued(places, truth, given)


def test_the_law_of_first_frames_foretells_the_others():
    places = clips.track(X, 0.0)
    found = clips.extrapolated(places, 4, WALLS, 1.5)
    position, _ = clips.continued(found, places, 4)
    assert np.median(position) < 0.02
    assert np.mean(position > 0.5) < 0.05  # a turn between the frames can be told in two ways
    np.testing.assert_allclose(found[:, :4], places[:, :4], atol=0.03)


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match=r'floor must be in \[0, 1\]'):
        clips.intensities(X, -0.1)
    with pytest.raises(ValueError, match=r'fastest must be in \(0, inf\)'):
        clips.fit(clips.track(X), WALLS, 0.0)
    with pytest.raises(ValueError, match=r'clips must be a whole number in \[1, 2147483648\)'):
        clips.in_one_frame(REAL, 0)
