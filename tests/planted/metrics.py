"""Metrics, their networks, and their protocol."""

from tests.planted.mutant import Mutant

EVAL, NETS = 'tests/evaluation/', 'tests/nets/'
FRECHET, SCORE, SHARES = EVAL + 'test_frechet.py::', EVAL + 'test_inception_score.py::', EVAL + 'test_manifold.py::'
MERGE, RESAMPLE = (
    FRECHET + 'test_merging_in_any_tree_is_numpys_covariance',
    FRECHET + ('test_a_resample_is_the_distance_of_the_rows_it_drew'),
)
SUMS, LINE, BLOCKS = (
    SCORE + 'test_batches_add_up_to_the_definition',
    SHARES + 'test_on_a_line_by_hand',
    SHARES + 'test_blocks_do_not_matter',
)
RESIZE, NETWORK, MEASURE = EVAL + 'test_resize.py::', EVAL + 'test_pretrained.py::', EVAL + 'test_measure.py::'
POOLS, UNPADDED = (
    NETS + 'test_inception.py::test_pooling_by_axes_is_by_windows',
    NETS + 'test_inception.py::test_cut_convolutions_are_those_without_padding',
)
INCEPTION, DINO = (
    NETS + 'test_inception.py::test_every_block_on_small_images',
    NETS + 'test_dinov2.py::test_every_block_with_interpolated_positions',
)
VALUES, GAP = (
    MEASURE + 'test_every_value_is_its_definition_on_the_rounded_samples',
    EVAL + 'test_distances.py::test_the_frechet_gap_of_a_copy_and_of_a_model',
)

MUTANTS = tuple(Mutant(*row) for row in [
    ('merged means do not spread', 'evaluation/frechet.py', 'a.scatter + b.scatter + np.outer(delta, delta)',
     'a.scatter + b.scatter + 0 * np.outer(delta, delta)', MERGE),
    ('mean merged by halves', 'evaluation/frechet.py', 'delta * (b.n / n)', 'delta / 2', MERGE),
    ('features summed in float32', 'evaluation/frechet.py', 'values = np.asarray(values, np.float64)\n    mean',
     'values = np.asarray(values, np.float32)\n    mean', FRECHET + 'test_float32_features_are_summed_in_float64'),
    ('resample around the old mean', 'evaluation/frechet.py', 'mean = (times * values).sum(axis=0) / n',
     'mean = values.mean(axis=0)', RESAMPLE),
    ('resample without replacement', 'evaluation/frechet.py', 'cov = (times * centred).T @ centred',
     'cov = centred.T @ centred', RESAMPLE),
    ('classes of one batch for all', 'evaluation/inception_score.py', 'a.p + b.p', 'b.p', SUMS),
    ('score without its exponential', 'evaluation/inception_score.py', 'float(np.exp(sums.p_log_p / sums.n + entropy))',
     'float(sums.p_log_p / sums.n + entropy)', SUMS),
    ('log of nothing', 'evaluation/inception_score.py', 'np.log(np.where(p > 0, p, 1.0))', 'np.log(p)',
     SCORE + 'test_sure_and_diverse_is_the_number_of_classes_and_sure_of_one_is_one'),
    ('a point is its own neighbour', 'evaluation/manifold.py', 'jnp.where(itself, jnp.inf, _squared(rows, x))',
     '_squared(rows, x)', LINE),
    ('recall by the balls of the data', 'evaluation/manifold.py', 'jnp.any(squared <= of_y[:, None], axis=0)',
     'jnp.any(squared <= of_x[None], axis=0)', LINE),
    ('density counts samples', 'evaluation/manifold.py', 'density=float(dense.mean() / k_density)',
     'density=float((dense > 0).mean() / k_density)', LINE),
    ('coverage by the radii of precision', 'evaluation/manifold.py', '(nearest <= np.asarray(of_x[1]))',
     '(nearest <= np.asarray(of_x[0]))', SHARES + 'test_against_scikit_learn'),
    ('only the first block is no neighbour of itself', 'evaluation/manifold.py', '(first + jnp.arange(len(rows)))',
     '(0 * first + jnp.arange(len(rows)))', BLOCKS),
    ('only the last block covers', 'evaluation/manifold.py', 'np.minimum(nearest, least)', 'least', BLOCKS),
    ('far from the origin', 'evaluation/manifold.py', 'np.asarray(v, np.float64) - centre',
     'np.asarray(v, np.float64) - 0 * centre', SHARES + 'test_far_from_the_origin'),
    ('gap the other way', 'evaluation/generalization.py',
     'return to_held_out - frechet_distance(samples.mean, samples.cov, train.mean, train.cov)',
     'return frechet_distance(samples.mean, samples.cov, train.mean, train.cov) - to_held_out', GAP),
    ('half a pixel to the side', 'evaluation/resize.py', '(np.arange(side) + 0.5) * n / side - 0.5',
     'np.arange(side) * n / side', RESIZE + 'test_pytorch_is_pytorchs[31]'),
    ('TensorFlow with half-pixel centres', 'evaluation/resize.py', 'np.arange(side, dtype=np.float32) * np.float32',
     '(np.arange(side, dtype=np.float32) + 0.5) * np.float32', RESIZE + 'test_tensorflow_is_torch_fidelitys[31]'),
    ('antialiasing forgotten', 'evaluation/resize.py', "'bicubic', precision", "'bicubic', antialias=False, precision",
     RESIZE + 'test_imagenet_is_pillows[6]'),
    ('overshoot kept', 'evaluation/resize.py', 'jnp.clip(x, 0, 255)', 'x', RESIZE + 'test_imagenet_is_pillows[31]'),
    ('samples not rounded for a network', 'evaluation/pretrained.py', 'np.asarray(to_uint8(x)), []',
     'np.asarray(127.5 * x + 127.5), []', NETWORK + 'test_any_number_of_images_in_batches_over_all_devices'),
    ('padding counts as images', 'evaluation/pretrained.py', 'np.asarray(a)[kept]', 'np.asarray(a)',
     NETWORK + 'test_any_number_of_images_in_batches_over_all_devices'),
    ('any weights give an FID', 'evaluation/pretrained.py', 'inception=digest.startswith(_FID_WEIGHTS)',
     'inception=True', NETWORK + 'test_only_the_published_weights_give_an_fid'),
    ('splits of unequal bounds', 'evaluation/measure.py', 'np.arange(1, len(values) + 1)) * _SPLITS - 1) // num',
     'np.arange(len(values))) * _SPLITS) // num', VALUES),
    ('samples not rounded in a stream', 'evaluation/measure.py',
     'batch = batch if reference.levels is None else rounded(batch)', 'batch = batch', VALUES),
    ('all rows kept', 'evaluation/measure.py', 'values[: max(_ROWS - done, 0)]', 'values',
     MEASURE + 'test_memory_does_not_grow_with_the_samples'),
    ('resize missing from the protocol', 'evaluation/measure.py', 'resize=reference.features.resize,', '',
     MEASURE + 'test_the_protocol_says_all'),
    ('padding in the mean', 'nets/inception.py', 'total / count', 'total / 9', POOLS),
    ('windows by ones', 'nets/inception.py', 'axis, stride=2)', 'axis, stride=1)', POOLS),
    ('last window lost', 'nets/inception.py', '// stride * stride + 1', '// stride * stride', POOLS),
    ('zeros beyond the border', 'nets/inception.py', ', constant_values=-jnp.inf', '', POOLS),
    ('cut on the other side', 'nets/inception.py', '[:, 1:, 1:]', '[:, :-1, :-1]', UNPADDED),
    ('padded on the other side', 'nets/inception.py', '_CUT = ((2, 0), (2, 0))', '_CUT = ((0, 2), (0, 2))', UNPADDED),
    ('border kept below', 'nets/inception.py', '[:, 1:-1, 1:-1]', '[:, 1:-1, 2:]', UNPADDED),
    ('average in the last block', 'nets/inception.py', 'Mixed7(_same_max_pool,', 'Mixed7(_average_pool,', INCEPTION),
    ('spatial features of the next block', 'nets/inception.py', "name='Mixed_6d')(x)\n        spatial = x[..., :",
     "name='Mixed_6d')(x)\n        spatial = x[..., -", INCEPTION),
    ('epsilon of PyTorch', 'interop/inception.py', '_EPSILON = 1e-3', '_EPSILON = 1e-5', INCEPTION),
    ('approximate GELU', 'nets/dinov2.py', 'approximate=False', 'approximate=True', DINO),
    ('positions without the offset', 'nets/dinov2.py', '_OFFSET = 0.1', '_OFFSET = 0.0', DINO),
    ('rows for columns', 'nets/dinov2.py', "'hi,wj,ijd->hwd'", "'hj,wi,ijd->hwd'", DINO),
    ('second scale twice', 'interop/dinov2.py', "{prefix}.{n}.gamma", '{prefix}.ls2.gamma', DINO),
    ('gap of standard errors added', 'runs.py', 'float(np.hypot(a, b))', 'float(a + b)',
     'tests/test_evaluate.py::test_the_gaps_standard_error_is_that_of_welchs_test'),
    ('gap of bits the other way', 'runs.py', "held_out['bits/dim'] - seen", "seen['bits/dim'] - seen",
     'tests/test_evaluate.py::test_the_gaps_standard_error_is_that_of_welchs_test'),
    ('gap of one set with itself', 'evaluate.py', '(held_out, runs.reference_data(run))', '(held_out, held_out)',
     'tests/test_evaluate.py::test_results_accumulate'),
])  # fmt: skip
