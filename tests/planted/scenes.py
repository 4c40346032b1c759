"""Bugs in text to image: scenes, their captions and judge, the encoder of texts."""

from tests.planted.mutant import Mutant

# fmt: off
GRAMMAR, SCENES, JUDGE, TEXT = 'data/scene_grammar.py', 'data/scenes.py', 'evaluation/scenes.py', 'nets/text.py'
TABLE = '../experiments/scenes.py'
DATA, JUDGED = 'tests/data/test_scenes.py::', 'tests/evaluation/test_scenes.py::'
READ = 'tests/data/test_scene_grammar.py::test_captions_are_read_as_they_were_written'
AREA = DATA + 'test_shapes_have_their_area_and_centre_and_stay_apart'
DENSE = DATA + 'test_pictures_are_the_shapes_sampled_densely[1]'
INVERTED = JUDGED + 'test_the_judge_inverts_the_renderer[test]'
KEPT = JUDGED + 'test_what_is_kept_of_a_caption'
PADDED = 'tests/nets/test_text.py::test_a_padded_text_is_the_text_alone'
ROWS = 'tests/experiments/test_scenes.py::test_the_table_has_means_and_standard_errors_of_each_split'

MUTANTS = tuple(Mutant(*row) for row in [
    ('scenes: a size that is not said is small', GRAMMAR, "Thing(size or None, colour, shape)",
     "Thing(size or 'small', colour, shape)", READ),
    ('scenes: any prefix is a caption', GRAMMAR, 're.fullmatch(', 're.match(',
     'tests/data/test_scene_grammar.py::test_what_is_no_caption'),
    ('scenes: held-out pairs among those seen', SCENES, '(SEEN + HELD_OUT if first else SEEN)', '(SEEN + HELD_OUT)',
     DATA + 'test_splits_hold_the_pairs_that_they_say'),
    ('scenes: the same pictures in every split', SCENES, '[seed, SPLITS.index(split), index]', '[seed, index]',
     DATA + 'test_splits_hold_the_pairs_that_they_say'),
    ('scenes: y upwards', SCENES, "'above' if dy > 0 else 'below'", "'below' if dy > 0 else 'above'",
     DATA + 'test_relations_are_by_the_longer_way'),
    ('scenes: relation by x alone', SCENES, 'if abs(dx) >= abs(dy):', 'if dx:',
     DATA + 'test_relations_are_by_the_longer_way'),
    ('scenes: shapes may touch', SCENES, '>= _GAP).all(1)', '>= -_GAP).all(1)', AREA),
    ('scenes: a triangle hangs on its middle height', SCENES, 'u <= 2 / 3, (u + 4 / 3) / 2', 'u <= 1, (u + 1) / 2',
     AREA),
    ('scenes: half a pixel off', SCENES, 'np.minimum(pixels + 1, x + half)', 'np.minimum(pixels + 0.5, x + half)',
     DENSE),
    ('scenes: the size is always said', SCENES, 'rng.random() < 0.75', 'rng.random() < 1.75',
     DATA + 'test_counts_sizes_and_held_out_pairs_are_equally_frequent'),
    ('scenes: captions of the rows before', SCENES, 'tokens([caption(scene.said) for scene in all_of(index)])',
     'tokens([caption(scene.said) for scene in all_of(np.maximum(index - 1, 0))])',
     DATA + 'test_a_source_reads_its_rows_in_any_order'),
    ('scenes: a prompt is cut short', 'data/conditions.py', 'if len(said) > length:', 'if not said:',
     DATA + 'test_what_is_no_prompt'),
    ('judge: the rim is not measured', JUDGE, 'np.where(whole,', 'np.where(parts == i,', INVERTED),
    ('judge: any skewness is a triangle', JUDGE, 'skewness < -_SKEWED', 'abs(skewness) > 0', INVERTED),
    ('judge: dust is a thing', JUDGE, '_LEAST_AREA = 4.0', '_LEAST_AREA = 0.5',
     JUDGED + 'test_what_is_no_thing_of_a_scene'),
    ('judge: whatever is full is a square', JUDGE, "< _TOLERANCE else 'blob'", "< 10 else 'blob'",
     JUDGED + 'test_what_has_no_shape_is_a_blob'),
    ('judge: white is not seen', JUDGE, " | {7: 'white'}", '', JUDGED + 'test_what_is_no_thing_of_a_scene'),
    ('judge: things in the order in which they are found', JUDGE,
     'itertools.permutations(slots, len(said.things))', '[slots[: len(said.things)]]', INVERTED),
    ('judge: a relation between others holds', JUDGE, 'a and b and i and j and relation', 'a and b and relation', KEPT),
    ('judge: too many things are all right', JUDGE, 'count == 1 and np.nanmin', 'np.nanmin', KEPT),
    ('judge: sizes that are not said count', JUDGE, 'for a, b in pairs if a.size)', 'for a, b in pairs)',
     JUDGED + 'test_what_is_not_said_is_not_scored'),
    ('text: padding is attended to', TEXT, 'mask=mask[:, None, None, :]', 'mask=None', PADDED),
    ('text: padding is told', TEXT, 'jnp.where(mask[..., None], self._norm', 'jnp.where(True, self._norm', PADDED),
    ('text: the encoder without its attention', TEXT, 'x = x + dense(f, f\'out_{i}\', self.dtype, small_init)(y)',
     'x = x + 0 * dense(f, f\'out_{i}\', self.dtype, small_init)(y)',
     'tests/nets/test_text.py::test_without_positions_it_is_equivariant_and_every_place_sees_every_other'),
    ('text: an encoder that nobody asked for', 'nets/condition.py', 'part.num is None or not self.text_layers',
     'part.num is None', 'tests/nets/test_text.py::test_its_weights_are_there_when_asked_for_alone[unet]'),
    ('scenes table: both splits are the first', TABLE, 'start += len(texts)', 'start += 0', ROWS),
    ('scenes table: standard deviations', TABLE, 'there.std(ddof=1) / np.sqrt(len(there))', 'there.std(ddof=1)', ROWS),
    ('scenes table: the right captions called wrong', TABLE, '[*rows[1:], rows[0]]', '[*rows]',
     'tests/experiments/test_scenes.py::test_the_judge_is_right_of_real_pictures_and_fails_on_spoilt_ones'),
])
# fmt: on
