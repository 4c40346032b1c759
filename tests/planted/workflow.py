"""Bugs in runs that start from another run, and in what belongs to the few-step methods' runs."""

from tests.planted.mutant import Mutant

# fmt: off
DISTIL, SLICED = 'tests/training/test_distillation.py::', 'tests/evaluation/test_sliced_wasserstein.py::'
STARTS, FOLLOW = (
    DISTIL + 'test_starts_as_the_teachers_average', DISTIL + 'test_the_target_and_the_staged_teacher_follow_the_student'
)
TEACHERS, GRIDS = DISTIL + 'test_teachers_that_are_refused', DISTIL + 'test_grids_that_are_refused'
SAMPLING = DISTIL + 'test_sampling_that_is_refused'
RESCALED = 'tests/test_precond.py::test_rescaled_coefficients_are_the_same_function_of_what_ve_would_see[TrigFlow]'
DIRECTIONS = SLICED + 'test_is_the_mean_of_scipys_distance_along_its_directions'
TEACHER, SAMPLE = 'builders/teacher.py', 'builders/sampling.py'

MUTANTS = tuple(Mutant(*row) for row in [
    ('workflow: sliced unsorted', 'evaluation/sliced_wasserstein.py', 'np.sort(a @ u, axis=0)', '(a @ u)', DIRECTIONS),
    ('workflow: sliced sorted along directions', 'evaluation/sliced_wasserstein.py', 'np.sort(b @ u, axis=0)',
     'np.sort(b @ u, axis=1)', DIRECTIONS),
    ('workflow: directions of any length', 'evaluation/sliced_wasserstein.py', 'u /= np.linalg.norm(u, axis=0)',
     'u /= 1', DIRECTIONS),
    ('workflow: rescaled c_in', 'precond.py', 'of.c_in(noise(t)) / schedule.alpha(t)', 'of.c_in(noise(t))', RESCALED),
    ('workflow: rescaled c_skip', 'precond.py', 'of.c_skip(noise(t)) / schedule.alpha(t)', 'of.c_skip(noise(t))',
     RESCALED),
    ('workflow: rescaled c_noise', 'precond.py', 'of.c_noise(noise(t))', 'of.c_noise(t)', RESCALED),
    ('workflow: neighbours without the last', 'times/pairs.py', 'shape, 0, len(t))', 'shape, 0, len(t) - 1)',
     'tests/times/test_pairs.py::test_neighbours_are_those_of_the_grid_each_as_probable'),
    ('workflow: decay of the other', 'times/curricula.py', 'jnp.asarray(mu)', 'jnp.asarray(1 - mu)',
     'tests/times/test_curricula.py::test_constant_decay'),
    ('workflow: annealing ignored', 'builders/optimiser.py', 'rise(step) * factor(step)', 'rise(step)',
     DISTIL + 'test_the_learning_rate_of_every_stage_falls_to_zero'),
    ('workflow: times beyond the end', SAMPLE, 'if grid[0] > schedule.t_max * (1 + 1e-6):',
     'if False:',
     GRIDS + '[sct-at:times=1.6]'),
    ('workflow: starts where there is no noise', SAMPLE, 'if schedule.alpha(t) >= schedule.sigma(t):', 'if False:',
     GRIDS + '[sct-uniform]'),
    ('workflow: steps of a grid that has none', 'inference/runs.py', "if not _takes_n(spec['times']):", 'if False:',
     GRIDS + '[sct-at:times=1.5]'),
    ('workflow: bound of a consistency model', 'builders/bits.py', 'if experiment.models.denoise is None:',
     'if False:',
     DISTIL + 'test_a_consistency_model_has_no_bits_per_dimension'),
    ('workflow: any architecture', TEACHER, 'if changed:', 'if False:', TEACHERS + '[network]'),
    ('workflow: any schedule', TEACHER, 'if not same_scales(theirs, schedules.VE()):', 'if False:',
     TEACHERS + '[schedule]'),
    ('workflow: any parameterisation', TEACHER, 'if not _alike(_values(their_coefficients), _values(ours)',
     'if False and (True', TEACHERS + '[v]'),
    ('workflow: any kind of teacher', TEACHER, "['objective']) != kind:",
     "['objective']) == 'nothing':",
     TEACHERS + '[consistency]'),
    ('workflow: any levels', TEACHER, '        if a != b:\n',
     '        if False:\n',
     DISTIL + 'test_a_teacher_of_data_with_other_levels'),
    ('workflow: writes before it reads', 'training/run.py', 'start_from = None if begun else _start(',
     'start_from = None and _start(', TEACHERS + '[no-checkpoint]'),
    ("workflow: the teacher's schedule forgotten", TEACHER, 'of_the_schedule(theirs)', "{'schedule': theirs}",
     DISTIL + 'test_schedules_of_the_same_scales_are_the_same'),
    ('workflow: init_from ignored', 'training/run.py', 'create(key_init, *experiment.taken(start_from or',
     'create(key_init, *experiment.taken(None and', STARTS + '[ect]'),
    ('workflow: another network for a start', 'builders/experiment.py', 'found if self.starts_from_teacher else None',
     'found', DISTIL + 'test_a_flow_map_learns_from_another_network'),
    ("workflow: the student's network for the teacher's", TEACHER, "network_functions(teacher['net'], teacher",
     "network_functions(config['net'], teacher", DISTIL + 'test_a_flow_map_learns_from_another_network'),
    ('workflow: raw parameters for the average', 'workdir/reading.py',
     'lambda step: read(reader, step, items)',
     "lambda step: {'ema': reader.restore(\n"
     "    step, args=ocp.args.Composite(train=ocp.args.PyTreeRestore()))['train']['params']}",
     STARTS + '[ect]'),
    ('workflow: average from scratch', 'training/state.py', 'jnp.copy, (params,', 'jnp.copy, (init(key),',
     STARTS + '[ect]'),
    ('workflow: the adaptive weight lost', 'training/state.py',
     'jax.tree_util.tree_map_with_path(lambda path, a: given.get(str(path), a), init(key))',
     'init(key) if start is None else start', STARTS + '[sct]'),
    ('workflow: keeps a teacher that nobody asks', 'builders/experiment.py', 'keeps_teacher=objective.reads_teacher,',
     "keeps_teacher=bool(config['teacher']),",
     STARTS + '[ect]'),
    ('workflow: the teacher follows', 'optim/targets.py', 'frozen._replace(target=',
     'frozen._replace(teacher=params, target=', DISTIL + 'test_the_teacher_stays_and_the_student_moves'),
    ('workflow: the decay of the next step', 'optim/targets.py', 'mu = decay(step - 1)', 'mu = decay(step)', FOLLOW),
    ('workflow: the target sees old parameters', 'training/step.py', 'freezing.update(state.frozen, params, step)',
     'freezing.update(state.frozen, state.params, step)', FOLLOW),
    ('workflow: staged a step late', 'optim/targets.py', 'N(step) != N(step - 1)', 'N(step - 1) != N(step - 2)',
     FOLLOW),
    ('workflow: any kind of sampler', SAMPLE, '    if not _asks_for(name) <= has:\n',
     '    if False:\n',
     SAMPLING + '[teacher---sampler=renoise]'),
    ('workflow: times below sigma_min', SAMPLE, 't < least)', 't < 0)', SAMPLING + '[cd---grid=at:times=80/0.0001]'),
    ('workflow: asks for a teacher again', TEACHER, "and saved.get('teacher'):", 'and False:',
     DISTIL + 'test_resumes_without_its_teachers_folder_bit_for_bit[pd]'),
    ('workflow: saves any weights', 'training/loop.py', 'if not _finite(params):', 'if False:',
     DISTIL + 'test_nothing_that_is_not_finite_is_saved'),
])
