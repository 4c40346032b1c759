"""Bugs in clips of moving digits, in their judges, and in the command that measures them."""

from tests.planted.mutant import Mutant

# fmt: off
DATA, JUDGE, COMMAND = 'data/moving_digits.py', 'evaluation/clips.py', '../experiments/video.py'
OF_DATA, OF_JUDGE = 'tests/data/test_moving_digits.py::', 'tests/evaluation/test_clips.py::'
OF_COMMAND = 'tests/experiments/test_video.py::'
BALL = OF_DATA + 'test_the_law_is_that_of_a_ball_between_walls'
MASS = OF_DATA + 'test_a_clips_centre_of_mass_is_the_law'
FOLLOWS = OF_DATA + 'test_places_and_steps_follow_from_start_and_velocity'
ROW = OF_DATA + 'test_a_row_depends_on_its_number_seed_and_split_alone'
REFUSED = OF_DATA + 'test_what_is_refused'
EXACT = OF_JUDGE + 'test_the_fit_finds_the_law_exactly'
ADDED = OF_JUDGE + 'test_errors_are_those_of_what_is_added'
SPOILT = OF_JUDGE + 'test_spoilt_clips_are_worse_by_the_judge_that_should_see_it'
SHAPES = OF_JUDGE + 'test_shapes_that_stay_and_that_have_nothing_in_common'
CONTINUED = OF_JUDGE + 'test_a_continuation_is_compared_from_its_first_own_frame_on'
SHARES = OF_COMMAND + 'test_training_clips_have_no_distance_and_shares_are_of_all_clips'
BY_HEART = OF_COMMAND + 'test_a_model_that_knows_the_clips_moves_and_goes_on_by_the_law[True]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('moving digits: through the walls and in again', DATA, 'np.mod(u - walls.low, 2 * L))',
     'np.mod(u - walls.low, L))', BALL),
    ('moving digits: walls at the edge of the frame', DATA, 'walls = Walls(margin, size - 1 - margin)',
     'walls = Walls(margin, size - margin)', MASS),
    ('moving digits: whole pixels alone', DATA, 'np.arange(n) - by[..., axis, None, None])',
     'np.arange(n) - np.rint(by[..., axis, None, None]))', MASS),
    ('moving digits: the corner is the place', DATA, 'by = self.centres(index) - centre(image)',
     'by = self.centres(index) - 3.5 + 0 * centre(image)', MASS),
    ('moving digits: fast ones along the axes', DATA, 'np.concatenate([np.sin(angle), np.cos(angle)], axis=1)',
     'np.concatenate([np.sin(angle), np.sin(angle)], axis=1)', FOLLOWS),
    ('moving digits: speeds from nothing on', DATA, 'slowest + (fastest - slowest) * u[:, 3:4]', 'fastest * u[:, 3:4]',
     FOLLOWS),
    ('moving digits: one motion for every split', DATA, '[seed, crc32(images.name.encode())]', '[seed, 0]', ROW),
    ('moving digits: rows change with their number', DATA, '.random((n, 5))', '.random((5, n)).T', ROW),
    ('moving digits: labels of other digits', DATA, 'np.arange(len(patches))])[chosen]',
     'np.arange(len(patches))])[np.sort(chosen)]', ROW),
    ('moving digits: out of the frame unseen', DATA, 'if reach > margin:', 'if reach > margin + 1:',
     REFUSED),
    ('moving digits: blocks of every other pixel', DATA, '.mean((2, 4))', '[:, :, 0, :, 0]',
     OF_DATA + 'test_shrinking_takes_means_of_blocks'),
    ('clips: noise draws to the middle', JUDGE, 'np.where(ink < floor, 0, ink)', 'ink + 0 * floor',
     OF_JUDGE + 'test_a_bright_square_is_where_it_is'),
    ('clips: no reflection in the fit', JUDGE, 'np.where(turns % 2 == 0, y, walls.low + walls.high - y)', 'y', EXACT),
    ('clips: a wall too little', JUDGE, 'u = turns * L +', 'u = turns * walls.low +', EXACT),
    ('clips: a start beyond the wall keeps its direction', JUDGE, 'np.where(turned, -v, v)', 'np.where(turned, v, v)',
     EXACT),
    ('clips: the grid alone', JUDGE, '_REFINED, _ROUNDS = 16, 8', '_REFINED, _ROUNDS = 16, 0', EXACT),
    ('clips: the error of one axis', JUDGE, '(vectors**2).sum(-1).sum(1)', '(vectors**2)[..., 0].sum(1)', ADDED),
    ('clips: errors of places for those of steps', JUDGE, '_rms(np.diff(apart, axis=1))', '_rms(apart[:, 1:])', ADDED),
    ('clips: what stands still is lawful', JUDGE, '(speed > slowest - 0.1) & ', '', SPOILT),
    ('clips: shapes compared where they are', JUDGE, 'ink = intensities(centred(x), 0.0)\n    steps',
     'ink = intensities(x, 0.0)\n    steps', SHAPES),
    ('clips: every other frame compared', JUDGE, 'steps = np.abs(np.diff(ink, axis=1))',
     'steps = np.abs(np.diff(ink[:, ::2], axis=1))', SHAPES),
    ('clips: given frames count', JUDGE, 'position, _ = deviations(places[:, given:], truth[:, given:])',
     'position, _ = deviations(places, truth)',
     CONTINUED),
    ('clips: the step out of the given frames is free', JUDGE,
     'places[:, given - 1 :], truth[:, given - 1 :]', 'places[:, given:], truth[:, given:]',
     CONTINUED),
    ('clips: the judge sees one frame of each clip', JUDGE, 'index // self.frames', 'index % len(self.values)',
     OF_JUDGE + 'test_the_judge_sees_all_frames_of_clips_centred_and_with_their_label'),
    ('clips: the first frames alone for features', JUDGE, 'np.arange(len(x)) % x.shape[1]', '0 * np.arange(len(x))',
     OF_JUDGE + 'test_features_see_one_frame_and_one_step_of_each_clip'),
    ('clips: one class, judged by two frames', JUDGE, '(classes == classes[:, :1]).all(1)',
     'classes[:, 0] == classes[:, -1]', OF_JUDGE + 'test_what_is_said_of_frames_and_of_clips'),
    ('video: given frames are not kept', COMMAND, 'edit=edit', 'edit=None', BY_HEART),
    ('video: nothing is given', COMMAND, 'y = operator.A(x[index % num])', 'y = operator.A(0 * x[index % num])',
     BY_HEART),
    ('video: repeats are free', COMMAND, '_REPEATS.value * count', 'count', BY_HEART),
    ('video: the error of one clip', COMMAND, 'np.std(a, ddof=1) / n**0.5', 'np.std(a, ddof=1)', SHARES),
    ('video: motion is frames again', COMMAND, "'motion': space(clips.single_steps)",
     "'motion': space(clips.single_frames)", SHARES),
    ('teacher: nested tuples are another network', 'builders/teacher.py',
     'json.loads(json.dumps([net.get(k) for k in keys]))',
     '[list(v) if isinstance(v, tuple) else v for v in (net.get(k) for k in keys)]',
     'tests/training/test_distillation.py::test_a_teachers_tuples_are_lists_in_its_file'),
])
