"""Bugs in steps with a second learner, and in distribution matching."""

from tests.planted.mutant import Mutant

# fmt: off
STEP, DMD = 'tests/training/test_second_learner.py::', 'tests/objectives/test_distribution_matching.py::'
COUNTED = STEP + 'test_so_many_updates_of_it_before_each_of_the_model[5-1]'
KL = DMD + 'test_beside_it_the_gradient_is_that_of_the_weighted_divergence[flow-params0]'
CHECKPOINT = 'tests/training/test_checkpoint.py::test_a_second_learner_is_saved_and_has_no_place_where_there_is_none'
DISTILLATION = 'tests/training/test_distillation.py::'
SKIPS = DISTILLATION + 'test_a_second_learner_begins_and_ends_to_skip_where_the_model_does'
PAPER = DMD + 'test_the_papers_weight[flow]'
FAKE = DMD + 'test_the_fake_score_is_best_as_the_generators_own_denoiser[flow-params0]'
KEYS = DMD + 'test_every_draw_has_its_own_key_and_a_condition_reaches_all'
SEVERAL = DMD + 'test_in_several_steps_the_generator_is_asked_what_the_sampler_asks'
LOSS = 'objectives/distribution_matching.py'

MUTANTS = tuple(Mutant(*row) for row in [
    ('second: one update too few', 'training/step.py', 'jnp.arange(second.updates)', 'jnp.arange(second.updates - 1)',
     COUNTED),
    ('second: the model sees it as it was', 'training/step.py', '_replace(other=learner.params)',
     '_replace(other=state.second.params)', COUNTED),
    ('second: by the mean of its updates', 'training/step.py',
     'optax.apply_updates(learner.params, updates), opt_state)',
     'optax.apply_updates(learner.params, jax.tree.map(lambda u: u / second.updates, updates)), opt_state)', COUNTED),
    ('second: one key for all updates', 'training/step.py', 'jax.random.fold_in(key, i), batch, state.step)\n'
     '            updates', 'key, batch, state.step)\n            updates',
     STEP + 'test_each_update_draws_by_a_key_of_its_own'),
    ('second: its optimiser starts anew', 'training/step.py', 'learner.opt_state, learner.params)',
     'second.tx.init(learner.params), learner.params)', STEP + 'test_its_optimiser_counts_its_own_updates'),
    ('second: its bad updates hide the model\'s', 'optim/skip_bad_updates.py', "a['skipped'] + b['skipped']",
     "b['skipped']", STEP + 'test_bad_updates_are_left_out_and_counted_in_steps'),
    ('second: updates in a row for steps', 'optim/skip_bad_updates.py',
     '-(-jnp.max(in_a_row) // len(in_a_row))', 'jnp.max(in_a_row)',
     STEP + 'test_bad_updates_are_left_out_and_counted_in_steps'),
    ('second: a bad update forgotten after a good one', 'optim/skip_bad_updates.py', 'jnp.max(in_a_row)',
     'in_a_row[-1]', STEP + 'test_one_bad_update_among_good_ones_makes_the_step_a_bad_one'),
    ('second: the model\'s key to begin with', 'training/state.py', 'key, key_second = jax.random.split(key)',
     'key_second = key', STEP + 'test_it_begins_by_its_own_key_and_from_the_teacher'),
    ('second: the teacher\'s own arrays', 'training/state.py',
     'jax.tree.map(jnp.copy, second.init(key_second, teacher))',
     'second.init(key_second, teacher)', STEP + 'test_it_begins_by_its_own_key_and_from_the_teacher'),
    ('second: annealed over the model\'s updates', 'builders/experiment.py', 'updates * train[', 'train[',
     STEP + 'test_its_rate_falls_over_its_own_updates'),
    ('second: without its optimiser', 'builders/experiment.py', '    if spec is None:\n        raise',
     "    spec = spec or config['optim']\n    if spec is None:\n        raise",
     STEP + 'test_an_optimiser_too_few_or_too_many[none]'),
    ('second: its bad weights saved', 'training/loop.py', '(state.params, state.second and state.second.params)',
     'state.params', STEP + 'test_weights_of_it_that_are_not_finite_are_not_saved'),
    ('second: not undone where skipping begins', 'training/run.py',
     'state.second and state.second._replace(opt_state=change(state.second.opt_state))', 'state.second',
     SKIPS),
    ('second: a place for none in a checkpoint', 'training/checkpoint.py', 'if state.second is None:\n        del',
     'if False:\n        del', CHECKPOINT),
    ('second: a copy of it in a checkpoint', 'training/checkpoint.py', "    del parts['frozen']['other']", '    pass',
     CHECKPOINT),
    ('distribution matching upside down', LOSS, '* (D_fake - D_real)', '* (D_real - D_fake)', KL),
    ('distribution matching against the fake alone', LOSS, '(D_fake - D_real))', '(D_fake - x_0))', KL),
    ('distribution matching by derivatives of the scores', LOSS,
     'gradient = jax.lax.stop_gradient(per_sample(w, x) * (D_fake - D_real))',
     'gradient = per_sample(w, x) * (D_fake - D_real)', KL),
    ('distribution matching through the noised sample', LOSS, 'x_0, t = jax.lax.stop_gradient(x), p_t',
     'x_0, t = x, p_t', KL),
    ('distribution matching weight without alpha', LOSS, 'w = schedule.alpha(t) / jnp.mean', 'w = 1 / jnp.mean', PAPER),
    ('distribution matching weight by the fake', LOSS, 'jnp.abs(D_real - x_0)', 'jnp.abs(D_fake - x_0)', PAPER),
    ('distribution matching weight of the batch', LOSS, 'axis=event_axes(x))', 'keepdims=True).ravel()', PAPER),
    ('distribution matching weight squared', LOSS, 'jnp.mean(jnp.abs(D_real - x_0)',
     'jnp.mean(jnp.square(D_real - x_0)', PAPER),
    ('distribution matching reads the fake as the teacher', LOSS, 'teacher(frozen.other, batch.cond, None)',
     'teacher(frozen.teacher, batch.cond, None)', KL),
    ('fake score of the data', LOSS, 'batch._replace(x=x), step)', 'batch, step)', FAKE),
    ('fake score of the generator\'s keys', LOSS, 'loss_of_the_fake(fake, frozen, key, batch, step):\n'
     '        key_x, key_denoise = jax.random.split(key)', 'loss_of_the_fake(fake, frozen, key, batch, step):\n'
     '        key_x = key_denoise = key', KEYS),
    ('fake score moves the generator', LOSS, 'x = jax.lax.stop_gradient(generate(frozen.other, key_x, batch))',
     'x = generate(frozen.other, key_x, batch)', FAKE),
    ('fake score begins elsewhere', LOSS, 'lambda key, teacher: teacher', 'lambda key, teacher: None',
     DMD + 'test_two_time_scales_lead_to_the_data'),
    ('generator learns by the steps before', LOSS, 'jax.lax.stop_gradient(found.x), times', 'found.x, times', SEVERAL),
    ('generator never at its last time', LOSS, '0, len(at))', '0, len(at) - 1)', SEVERAL),
    ('generator told another time', LOSS, 'times[which]', 'times[which - 1]', SEVERAL),
    ('generator\'s dropout by the noise\'s key', LOSS, 'consistency_model(params, batch.cond, key_dropout)',
     'consistency_model(params, batch.cond, key_start)', KEYS),
    ('levels of a wrong share', 'times/distributions.py', 'continuous_uniform(low, high)',
     'continuous_uniform(0, high)',
     'tests/times/test_distributions.py::test_levels_are_uniform_on_edms_grid'),
    ('levels uniform themselves', 'times/distributions.py', '(most - least)) ** rho', '(most - least)) ** 1',
     'tests/times/test_distributions.py::test_levels_are_uniform_on_edms_grid'),
])
# fmt: on
