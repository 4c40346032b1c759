"""Bugs in which few rows there are, in what classifiers are shown, and in the verdict on them."""

from tests.planted.mutant import Mutant

# fmt: off
FEW, BUILDER, AUGMENT, CLASSIFIER = 'data/few.py', 'builders/data.py', 'data/augment.py', 'evaluation/classifier.py'
MIXING, TABLE = '../experiments/augmentation/mixing.py', '../experiments/augmentation/table.py'
OF_DATA, COMMAND = 'tests/data/test_few.py::', 'tests/experiments/test_augmentation.py::'
BALANCED = OF_DATA + 'test_they_are_balanced_different_rows_with_their_own_labels'
LIKELY = OF_DATA + 'test_every_row_of_a_class_is_as_likely'
OTHERS = OF_DATA + 'test_other_splits_are_whole_and_what_is_not_told_stays_untold'
ON_DISK = OF_DATA + 'test_a_few_of_a_set_on_disk_are_all_that_is_read'
REFUSED = OF_DATA + 'test_what_is_not_there_is_refused'
SHIFT = 'tests/data/test_pipeline.py::test_shift_moves_images_by_every_offset_as_often_and_brings_in_black'
HALVES = COMMAND + 'test_halves_show_every_real_row_as_often'
SHUFFLED = COMMAND + 'test_shuffled_labels_belong_to_no_picture_and_shifts_to_the_shifted'
LABELLED = COMMAND + 'test_generated_rows_have_the_levels_and_the_classes_that_were_asked_for'
KEYS = COMMAND + 'test_the_classifier_sees_augmented_pictures_by_another_key_in_each_step'
COPIES = COMMAND + 'test_copies_are_copies_and_labels_are_kept_where_the_judge_says_so'
STUDENT = COMMAND + 'test_gains_are_paired_and_judged_by_student'

MUTANTS = tuple(Mutant(*row) for row in [
    ('augmentation: rows by chance, not by class', FEW, 'order[np.argsort(turn, kind=\'stable\')]', 'order', BALANCED),
    ('augmentation: the first rows of each class', FEW, 'rng.permutation(len(labels))', 'np.arange(len(labels))',
     LIKELY),
    ('augmentation: all seeds have the same rows', FEW, 'np.random.default_rng(seed)', 'np.random.default_rng(0)',
     LIKELY),
    ('augmentation: labels of the first rows', FEW, 'rows_of(source, index)', 'rows_of(source, np.arange(n))',
     BALANCED),
    ('augmentation: one row fewer than classes is taken', FEW, 'not classes <= n', 'not classes - 1 <= n', REFUSED),
    ('augmentation: as many rows as there are, if fewer', FEW, '<= n <= len(labels)', '<= n', REFUSED),
    ('augmentation: held-out rows are a few as well', BUILDER, 'return n if split in (None, own) else None', 'return n',
     OTHERS),
    ('augmentation: the whole set is decoded for a few rows', BUILDER, '(spec if n is None else undecoded(spec))',
     'spec', ON_DISK),
    ('augmentation: the seed is not passed on', BUILDER,
     'few(source, n, seed or 0)', 'few(source, n)', REFUSED),
    ('augmentation: shifts in one direction only', AUGMENT, '(len(x), 2), 0, 2 * pixels + 1)',
     '(len(x), 2), 0, pixels + 1)', SHIFT),
    ('augmentation: shifts bring in grey', AUGMENT, 'constant_values=-1', 'constant_values=0', SHIFT),
    ('augmentation: shifts along the diagonal alone', AUGMENT, 'i[0], i[1], 0]', 'i[0], i[0], 0]', SHIFT),
    ('augmentation: every step has the same shifts', CLASSIFIER, 'jax.random.fold_in(key, i)', 'key', KEYS),
    ('augmentation: the classifier sees what is not augmented', CLASSIFIER, 'augmented = augment(key, x)',
     'augmented = x', KEYS),
    ('augmentation: generated rows above the last level', MIXING, 'to_levels(x, like.kind.levels)',
     'to_levels(x, like.kind.levels + 1)', LABELLED),
    ('augmentation: generators alone see real rows', MIXING, 'if mix.real else second', '', HALVES),
    ('augmentation: real rows that are not in a whole number of times', MIXING,
     'len(real.x) * -(-len(generated.x) // len(real.x))', 'len(generated.x)', HALVES),
    ('augmentation: mixes show the real rows twice', MIXING, 'real if mix.generator is None else generated, half)',
     'real if mix.real else generated, half)', HALVES),
    ('augmentation: copies of a row have other labels', MIXING, 'labels[np.arange(2 * half) % len(labels)]',
     'np.random.default_rng(seed).permutation(found.cond)', SHUFFLED),
    ('augmentation: all are shifted', MIXING, 'if mix.shifted else found', 'if mix.real else found', SHUFFLED),
    ('augmentation: copies of held-out rows', MIXING, 'of_train = Values(train)', 'of_train = Values(held_out)',
     COPIES),
    ('augmentation: gains are not paired', TABLE, 'over_seeds([of[name] - of[over] for of in results[n].values()])',
     'accuracy(results, n, name)._replace(mean=accuracy(results, n, name).mean - accuracy(results, n, over).mean)',
     STUDENT),
    ('augmentation: the interval is a normal\'s', TABLE, 't.ppf(0.975, n - 1)', 't.ppf(0.975, 10**9)', STUDENT),
    ('augmentation: the spread is the error', TABLE, 'np.std(of_seeds, ddof=1) / np.sqrt(n)',
     'np.std(of_seeds, ddof=1)', STUDENT),
    ('augmentation: what may be nothing helps', TABLE, 'self.mean - self.half_width > 0', 'self.mean > 0', STUDENT),
])
