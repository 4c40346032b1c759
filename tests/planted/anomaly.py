"""Bugs in scores of anomalies, in their judge, and in the rows that are compared."""

from tests.planted.mutant import Mutant

# fmt: off
SCORES, DATA, BUILDER = 'evaluation/anomaly.py', 'data/without.py', 'builders/data.py'
METHODS, SPLITS = '../experiments/anomaly/methods.py', '../experiments/anomaly/splits.py'
BASELINES, TABLE = '../experiments/anomaly/baselines.py', '../experiments/anomaly/table.py'
OF_SCORES, OF_DATA = 'tests/evaluation/test_anomaly.py::', 'tests/data/test_without.py::'
COMMAND = 'tests/experiments/test_anomaly.py::'
JUDGE = OF_SCORES + 'test_the_judge_counts_pairs_and_precision'
CHANCE = OF_SCORES + 'test_a_score_that_knows_nothing_has_half_within_its_error'
PLANE = OF_SCORES + 'test_on_a_plane_one_denoising_is_pca'
SHRUNK = OF_SCORES + 'test_from_noise_the_expected_error_is_shrinkage_and_noise'
LATENT = OF_SCORES + 'test_the_latent_of_a_linear_model_returns_with_the_error_of_its_grid'
TYPICAL = OF_SCORES + 'test_the_likeliest_point_is_not_typical'
ROWS = COMMAND + 'test_anomalies_are_of_the_class_and_normal_rows_of_no_training'
SCORED = COMMAND + 'test_every_row_is_scored_once_whatever_the_batch'
SEEDS = COMMAND + 'test_errors_are_over_seeds_of_means_over_classes'
VERDICTS = COMMAND + 'test_verdicts_have_the_controls_of_the_judge'
BASELINE = COMMAND + 'test_baselines_know_what_is_strange'

MUTANTS = tuple(Mutant(*row) for row in [
    ('anomaly: the judge takes normal rows for anomalies', SCORES, 'np.repeat([False, True]', 'np.repeat([True, False]',
     JUDGE),
    ('anomaly: the judge sees half of the labels in another order', SCORES,
     'np.concatenate([normal, anomalous])', 'np.concatenate([anomalous, normal])', JUDGE),
    ('anomaly: precision is the AUROC', SCORES, 'metrics.average_precision_score', 'metrics.roc_auc_score', JUDGE),
    ('anomaly: the judge takes NaN', SCORES, 'if not np.isfinite(score).all()', 'if np.isinf(score).all()',
     OF_SCORES + 'test_what_cannot_be_judged_is_refused'),
    ('anomaly: chance without the other rows', SCORES, 'np.sqrt((n + m + 1)', 'np.sqrt((n + 1)', CHANCE),
    ('anomaly: the error is of the sum', SCORES, 'mean_square(rebuild(k, x) - x)', 'mean_square(rebuild(k, x) + x)',
     SHRUNK),
    ('anomaly: all draws are one', SCORES, 'jax.random.split(key, draws))', 'jnp.broadcast_to(key, (draws,)))', SHRUNK),
    ('anomaly: one step without noise', SCORES, 'predict(gaussian(schedule, t).corrupt(key, x, t_of_each), t_of_each)',
     'predict(x, t_of_each)', PLANE),
    ('anomaly: one step told another time', SCORES, 't_of_each), t_of_each)', 't_of_each), t_of_each / 2)', SHRUNK),
    ('anomaly: the latent is decoded only', SCORES, 'editing.transfer(denoise, denoise, schedule, x, times)',
     'editing.sdedit(__import__("diffusion_jax").samplers.ddim(denoise, schedule), schedule, key, x, times)', LATENT),
    ('anomaly: typical is likely', SCORES, 'np.abs(surprise - np.mean(of_training))',
     '(surprise - np.mean(of_training))', TYPICAL),
    ('anomaly: typical is far from 0', SCORES, 'np.abs(surprise - np.mean(of_training))', 'np.abs(surprise)', TYPICAL),
    ('anomaly: a scale of variance', SCORES, '/ np.std(of_training)', '/ np.var(of_training)',
     OF_SCORES + 'test_standardised_scores_have_the_scale_of_the_training_rows'),
    ('anomaly: the class alone is left in', DATA, '!= label)', '== label)',
     OF_DATA + 'test_a_class_is_left_out_of_the_data'),
    ('anomaly: labels of the rows before', DATA, 'cond=jax.tree.map(lambda rows: _chosen(rows, index), source.cond)',
     'cond=jax.tree.map(lambda rows: rows[np.arange(len(index))], source.cond)',
     OF_DATA + 'test_a_class_is_left_out_of_the_data[label-train]'),
    ('anomaly: rows on disk without their places', DATA, 'self._rows[self._index[index]]', 'self._rows[index]',
     OF_DATA + 'test_rows_on_disk_are_read_where_they_are_indexed'),
    ('anomaly: any class can be left out', DATA, 'if not 0 <= label < num', 'if label < 0',
     OF_DATA + 'test_what_has_no_such_class_is_refused'),
    ('anomaly: the label is told all the same', BUILDER, 'return source if told else',
     'return source if True else', OF_DATA + 'test_a_class_is_left_out_of_the_data[None-train]'),
    ('anomaly: normal rows of all classes', SPLITS, '(Values(without(source, label)) for source in both)',
     '(Values(source) for source in both)', ROWS),
    ('anomaly: anomalies of all classes', SPLITS, '[_of_class(source, label) for source in both]',
     '[Values(source)[:] for source in both]', ROWS),
    ('anomaly: normal rows were trained on', SPLITS, 'chosen = _some(rng, normal, num)',
     'chosen = _some(rng, train, num)', ROWS),
    ('anomaly: each row in an order of its own', SPLITS, 'chosen.reshape(len(chosen), -1)[:, order]',
     'rng.permuted(chosen.reshape(len(chosen), -1), axis=1)[:, order]',
     COMMAND + 'test_scrambled_rows_are_the_normal_ones_in_one_other_order'),
    ('anomaly: another set in other levels', SPLITS, ', kind.levels)', ', None)',
     COMMAND + 'test_another_set_comes_in_the_form_of_the_data'),
    ('anomaly: the last row again and again', METHODS, 'part[: len(x) - first]', 'part[-len(x) + first :]', SCORED),
    ('anomaly: typicality of the normal rows', METHODS, 'surprise[TRAINING]) for', 'of) for', SCORED),
    ('anomaly: the nearest is the row itself', BASELINES, 'neighbours.kneighbors(_flat(x))[0].mean(1)',
     'neighbours.kneighbors(_flat(x))[0][:, 0]', BASELINE),
    ('anomaly: the forest upside down', BASELINES, '-forest.score_samples', 'forest.score_samples', BASELINE),
    ('anomaly: PCA by its components', BASELINES, 'pca.inverse_transform(pca.transform(_flat(x))) - _flat(x)',
     'pca.transform(_flat(x))', BASELINE + ' ' + PLANE),
    ('anomaly: errors over classes', TABLE, 'np.std(of_seeds, ddof=1) / np.sqrt(n)', 'np.std(of_seeds, ddof=1)', SEEDS),
    ('anomaly: seeds that some lack', TABLE, 'set.intersection(', 'set.union(', SEEDS),
    ('anomaly: halves that overlap', TABLE, 'of[NORMAL][1::2]).auroc', 'of[anomalies]).auroc', VERDICTS),
    ('anomaly: scrambled against anomalies', TABLE, 'anomaly.judged(of[NORMAL], of[SCRAMBLED])',
     'anomaly.judged(of[anomalies], of[SCRAMBLED])', VERDICTS),
    ('depths are looked at after the first training', '../experiments/anomaly/__main__.py',
     '    parts_of_the_grid(builders.build(config), config, _depths())', '    (config, _depths)',
     'tests/experiments/test_anomaly.py::test_what_cannot_be_compared_is_one_line'),
])
