"""Zero-shot editing."""

from tests.planted.mutant import Mutant

# fmt: off
OPERATORS, PROJECT, COMMAND = (f'tests/editing/test_{name}.py::test_' for name in ('operators', 'project', 'command'))
TRAVEL, SDEDIT, INVERT = (f'tests/editing/test_{name}.py::test_' for name in ('travel', 'sdedit', 'invert'))
EXACT = PROJECT + 'known_values_are_exact_and_independent_ones_are_as_without_them[renoise]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('editing: hidden values leak', 'editing/operators.py', 'jnp.where(known[None], x, 0)',
     'x * jnp.where(known[None], 1.0, 0.0)', OPERATORS + 'what_is_known'),
    ('editing: weights not normalised', 'editing/operators.py', 'w / jnp.sum(w**2)', 'w',
     OPERATORS + 'pinv_is_the_pseudo_inverse[colourise]'),
    ('editing: transpose for inverse', 'editing/operators.py', 'y = jnp.repeat(y, factor, axis)',
     'y = jnp.repeat(y, factor, axis) / factor', OPERATORS + 'pinv_is_the_pseudo_inverse[super-resolve]'),
    ('editing: channels averaged as well', 'editing/operators.py', 'within = tuple(range(2, 2 * len(sizes) + 1, 2))',
     'within = tuple(range(1, 2 * len(sizes) + 1, 2))', OPERATORS + 'what_is_known'),
    ('editing: known values to rounding only', 'editing/project.py',
     'known + (x - operator.pinv(operator.A(x)))', '(known + x) - operator.pinv(operator.A(x))', EXACT),
    ('editing: projection only at the end', 'editing/project.py', 'lambda x, t: onto(denoise(x, t))', 'denoise',
     PROJECT + 'the_sampler_alone_ends_at_the_known_values'),
    ('editing: projection of x_t', 'editing/project.py', 'onto(denoise(x, t))', 'denoise(onto(x), t)',
     PROJECT + 'the_sampler_alone_ends_at_the_known_values'),
    ('editing: one key for start and steps', 'editing/project.py', 'samplers.fold_in(key, 1)',
     'samplers.fold_in(key, 0)', PROJECT + 'with_renoise_it_is_consistency_models_algorithm_4'),
    ('editing: start without what is known', 'editing/project.py', 'x = operator.pinv(y)\n',
     'x = 0 * operator.pinv(y)\n', PROJECT + 'with_renoise_it_is_consistency_models_algorithm_4'),
    ('travel: unit variance', 'editing/travel.py', 'jnp.sqrt(var_ts) * noise', 'jnp.sqrt(schedule.sigma(t)) * noise',
     TRAVEL + 'up_is_q_and_costs_no_evaluation'),
    ('travel: wrong way', 'editing/travel.py', 'transition(schedule, t, s)', 'transition(schedule, s, t)',
     TRAVEL + 'up_is_q_and_costs_no_evaluation'),
    ('travel: once too often', 'editing/travel.py', '* (repeats - 1)', '* repeats',
     TRAVEL + 'every_stretch_is_run_again'),
    ('travel: top of the stretch missed', 'editing/travel.py', 'down[-2::-1]', 'down[-2:0:-1]',
     TRAVEL + 'every_stretch_is_run_again'),
    ('travel: only the first step', 'editing/travel.py', 'range(0, len(grid) - 1, length)',
     'range(0, len(grid) - 1, length + 1)', TRAVEL + 'every_stretch_is_run_again'),
    ('sdedit: t0 twice', 'editing/sdedit.py', 'grid[grid < t0]', 'grid[grid <= t0]', SDEDIT + 'the_part_of_a_grid'),
    ('sdedit: from the top of the grid', 'editing/sdedit.py', 'np.append(t0, grid[grid < t0])', 'grid',
     SDEDIT + 'runs_down_from_the_noised_image'),
    ('invert: encoded with the target', 'editing/invert.py', '_encode(source, schedule', '_encode(target, schedule',
     INVERT + 'transfer_is_the_map_from_quantile_to_quantile'),
    ('invert: encoded downwards', 'editing/invert.py', 'x, times[::-1])', 'x, times)',
     INVERT + 'transfer_is_the_map_from_quantile_to_quantile'),
    ('edit: mask turned round', 'build/editing.py', 'jnp.asarray(mask < 0)', 'jnp.asarray(mask > 0)',
     COMMAND + 'every_kind_of_model[mean_flow-euler]'),
    ('edit: variants dealt round', 'build/editing.py', 'Edit(draw, (y.repeat(job.num, 0),), beside)',
     'Edit(draw, (np.tile(y, (job.num, *[1] * (y.ndim - 1))),), beside)',
     COMMAND + 'every_kind_of_model[mean_flow-euler]'),
    ('edit: no time travel', 'build/editing.py', 'editing.travels(grid, length, repeats)',
     'editing.travels(grid, length, 1)', COMMAND + 'a_small_image_and_a_large_one_of_which_the_means_count'),
    ('edit: both ends from one image', 'build/editing.py', "for name in ('image', 'image2')]",
     "for name in ('image', 'image')]", COMMAND + 'interpolation_and_transfer'),
    ('edit: denoiser not edited', 'build/sampling.py', 'lambda denoise: edit(clip(denoise)), full', 'clip, full',
     COMMAND + 'every_prediction_is_projected'),
    ('files: half a level off', 'data/files.py', 'x / np.float32(127.5) - 1', 'x / np.float32(128) - 1',
     COMMAND + 'every_level_of_a_file_comes_back'),
])  # fmt: skip
